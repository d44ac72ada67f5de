#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "athanor/allocator/CachingAllocator.h"

namespace athanor::allocator {

/// The rules of the caching allocator written a second time, slowly and plainly: one flat list of pieces in the order
/// of their addresses, searched from end to end, every statistic counted anew. Shares no code with the model.
class Reference {
 public:
  struct Piece {
    Address address = 0;
    std::int64_t size = 0, requested = 0;
    Stream stream = 0;
    bool large = false, live = false, mapped = true, expandable = false;
    int waits = 0;                // streams it waits for, once freed
    std::vector<Stream> users{};  // record_stream, while live
    int home = 0;                 // segment or reserved range: pieces of the same one merge
    std::int64_t searched = 0;    // how often its pool had been searched when it became free

    [[nodiscard]] bool idle() const { return !live && waits == 0; }
  };

  Reference(Settings settings, std::int64_t capacity, std::function<Place(std::int64_t, bool)> place)
      : settings_(settings), capacity_(capacity), place_(std::move(place)) {}

  std::optional<Address> allocate(std::int64_t size, Stream stream);
  void free(Address address);
  void record_stream(Address address, Stream stream);
  void synchronize(Stream stream) {
    for (auto& [on, address] : queue_)
      if (on == stream) address.second = true;
  }
  void empty_cache();

  [[nodiscard]] std::vector<Segment> segments() const;
  [[nodiscard]] Statistics statistics() const;
  std::int64_t retries = 0, ooms = 0;

 private:
  struct Wanted {
    std::int64_t size;
    Stream stream;
    bool large;
  };
  [[nodiscard]] std::int64_t held() const {
    std::int64_t sum = 0;
    for (const Piece& p : pieces_)
      if (p.mapped) sum += p.size;
    return sum;
  }
  [[nodiscard]] bool alone(std::size_t i) const {
    return (i == 0 || pieces_[i - 1].home != pieces_[i].home) &&
           (i + 1 == pieces_.size() || pieces_[i + 1].home != pieces_[i].home);
  }
  [[nodiscard]] std::int64_t reach(std::size_t i) const {
    const bool grows = i + 1 < pieces_.size() && pieces_[i + 1].home == pieces_[i].home && !pieces_[i + 1].mapped;
    return pieces_[i].size + (grows ? pieces_[i + 1].size : 0);
  }
  [[nodiscard]] std::vector<std::size_t> free_in_order(bool large) const;
  [[nodiscard]] std::optional<std::size_t> best(const Wanted& wanted);
  [[nodiscard]] std::optional<std::size_t> grow(const Wanted& wanted);
  [[nodiscard]] std::optional<std::size_t> grow_pages(const Wanted& wanted);
  bool map_pages(std::size_t i, std::int64_t bytes);
  void cut(std::size_t i, std::int64_t size);
  void merge_all();
  void complete_finished(bool all);
  bool release_oversize(const Wanted& wanted);
  void collect_garbage();
  std::size_t at(Address address) const {
    for (std::size_t i = 0; i < pieces_.size(); ++i)
      if (pieces_[i].address == address) return i;
    return pieces_.size();
  }
  /// allocation, segment, active, inactive_split, allocated, reserved, active, inactive_split and requested bytes; each
  /// over all pools, the small and the large one.
  using Sums = std::array<std::array<std::int64_t, 3>, 9>;
  [[nodiscard]] Sums sums() const;
  void count();

  Settings settings_;
  std::int64_t capacity_;
  std::function<Place(std::int64_t, bool)> place_;
  std::vector<Piece> pieces_;
  std::vector<std::pair<Stream, std::pair<Address, bool>>> queue_;  // stream, (block, finished)
  std::map<bool, std::int64_t> searches_;
  int homes_ = 0;
  Sums peaks_{};
};

}  // namespace athanor::allocator
