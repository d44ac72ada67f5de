#pragma once
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace athanor::allocator {

using Address = std::uint64_t;
using Stream = std::uint64_t;                            ///< A cudaStream_t; 0 is the default stream.
using PoolId = std::pair<std::uint64_t, std::uint64_t>;  ///< A MempoolId_t; {0, 0} is the shared pools.

enum class BlockState : std::uint8_t {
  free,     ///< "inactive"
  pending,  ///< "active_pending_free" (older files: "active_awaiting_free"): freed, another stream still uses it.
  live,     ///< "active_allocated"
};

/// One piece of a segment. Sizes in bytes.
struct Block {
  Address address = 0;
  std::int64_t size = 0;
  std::int64_t requested = 0;  ///< What the caller asked for; 0 where free or unknown.
  BlockState state = BlockState::free;

  bool operator==(const Block&) const = default;
};

/// One contiguous piece of mapped device memory; `blocks` tile it in address order.
struct Segment {
  Address address = 0;
  std::int64_t size = 0;
  Stream stream = 0;
  PoolId pool{0, 0};
  bool large = false;
  bool expandable = false;
  std::vector<Block> blocks;

  bool operator==(const Segment&) const = default;
};

/// Virtual addresses an expandable segment has to itself, mapped or not.
struct Reserve {
  Address address = 0;
  std::int64_t size = 0;
  Stream stream = 0;
  PoolId pool{0, 0};
  bool large = false;
};

enum class Action : std::uint8_t {
  alloc,
  free_requested,
  free_completed,
  segment_alloc,
  segment_free,
  segment_map,
  segment_unmap,
  oom,  ///< address: what the driver had free.
  snapshot,
};

/// PyTorch's name of an action, as it stands in snapshots.
std::string_view name(Action action);

/// What happened, as PyTorch's trace records it: sizes of alloc and free are the requested bytes.
struct Event {
  Action action = Action::alloc;
  Address address = 0;
  std::int64_t size = 0;
  Stream stream = 0;
  PoolId pool{0, 0};

  bool operator==(const Event&) const = default;
};

}  // namespace athanor::allocator
