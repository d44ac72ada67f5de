#pragma once
#include <deque>
#include <optional>
#include <vector>

#include "athanor/allocator/Replay.h"

namespace athanor::allocator {

/// Drives the model along a recorded history: new segments go where the recorded ones were.
class Follower {
 public:
  explicit Follower(const History& history);

  void step(std::size_t index);
  void finish();

  struct Held {
    static constexpr Address nowhere = ~Address{0};

    Address model = nowhere;  // where the model put it
    std::uint32_t stack = 0;
    bool older = false;  // than the history
  };

  const CachingAllocator& model() const { return model_; }
  const std::vector<Held>& blocks() const { return blocks_; }
  Fidelity fidelity;

 private:
  DeviceOptions options();
  [[nodiscard]] std::uint32_t stack_at_start(Address address) const;
  Place place(std::int64_t size, bool expandable);
  void see(const Event& event);
  std::optional<Address> ask(const Step& step);
  void allocate(const Step& step);
  [[nodiscard]] std::optional<std::size_t> retry(std::size_t begin) const;
  [[nodiscard]] std::optional<std::size_t> struggle(std::size_t begin) const;
  [[nodiscard]] std::optional<std::size_t> oversize_struggle(std::size_t begin) const;
  [[nodiscard]] std::vector<Address> oversize_releases(const Step& request) const;
  void follow_struggle(std::size_t begin, std::size_t end);
  [[nodiscard]] bool releases_everything(std::size_t begin) const;
  void release(std::size_t begin, std::size_t end);

  const History& history_;
  CachingAllocator model_;
  std::vector<Held> blocks_;              // by number
  std::deque<const Step*> expected_;      // recorded segments that the next allocation should take
  std::vector<Event> seen_;               // what the model took or gave back since
  Address synthetic_ = Address{1} << 50;  // for segments that were not recorded
  std::int64_t held_ = 0, recorded_peak_ = 0;
  std::size_t done_until_ = 0;  // steps that were followed together with an earlier one
  std::size_t next_range_ = 0;
  bool own_places_ = false;
  bool struggling_ = false;  // follow_struggle does the counting
};

}  // namespace athanor::allocator
