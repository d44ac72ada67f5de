#pragma once
#include <cstdint>
#include <deque>
#include <unordered_map>

#include "athanor/allocator/CachingAllocator.h"
#include "athanor/allocator/Snapshot.h"

namespace athanor::allocator {

/// Records what a model does as PyTorch's memory history would, to be written as a snapshot. Takes the model's
/// observer. The recorder must outlive the model's use, or `stop` be called.
class Recorder {
 public:
  /// Keeps the newest `most` events, as torch.cuda.memory._record_memory_history(max_entries=most) does.
  explicit Recorder(CachingAllocator& model, std::int32_t device = 0, std::size_t most = ~std::size_t{0});

  /// The stacks to attribute events to; ids for `at` come from here.
  Frames& frames() { return snapshot_.frames; }

  /// From now on events are made by this stack, at this time.
  void at(std::uint32_t stack, std::int64_t time_us) {
    stack_ = stack;
    time_us_ = time_us;
  }

  void stop();

  /// The history so far and the segments as they are now. `conf` is what PYTORCH_CUDA_ALLOC_CONF would say.
  [[nodiscard]] Snapshot snapshot(const std::string& conf = "") const;

 private:
  CachingAllocator* model_;
  std::size_t device_;
  std::size_t most_;
  Snapshot snapshot_;  // without traces and segments
  std::deque<TraceEvent> events_;
  std::unordered_map<Address, std::uint32_t> stacks_;  // of live blocks and of segments
  std::uint32_t stack_ = 0;
  std::int64_t time_us_ = 0;
};

}  // namespace athanor::allocator
