#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "athanor/allocator/CachingAllocator.h"
#include "athanor/allocator/Snapshot.h"

namespace athanor::allocator {

/// One step of a device's history, ready to be replayed.
struct Step {
  enum Kind : std::uint8_t {
    alloc,
    free,          ///< asked for and done
    request_free,  ///< asked for; done at a later complete_free
    complete_free,
    segment_alloc,
    segment_map,
    segment_free,
    segment_unmap,
    oom,  ///< address: what the driver had free
  };

  static constexpr std::uint32_t no_block = 0xffffffff;

  Kind kind = alloc;
  /// segment_free, segment_unmap: by an allocation that found the device full, not by the program.
  bool forced = false;
  std::uint16_t pool = 0;   ///< index into History::pools
  std::uint32_t event = 0;  ///< index into the trace
  std::uint32_t stack = 0;
  std::uint32_t block = no_block;  ///< alloc and frees: the block's number, which a later block may have again
  Stream stream = 0;
  Address address = 0;
  std::int64_t size = 0;
};

/// What one device did: the state its trace begins with and the steps from there.
struct History {
  std::int32_t device = 0;
  std::vector<Step> steps;
  std::vector<PoolId> pools;
  std::vector<Segment> start;           ///< rebuilt from the segments at the end and the trace, backwards
  std::vector<Reserve> reserves;        ///< Ranges of expandable segments that are there at the start.
  std::vector<Reserve> later_reserves;  ///< Those reserved since, in that order.
  std::vector<Segment> finish;  ///< The segments the snapshot lists; where it is partial, those seen before its end.
  std::unordered_map<Address, std::uint32_t> start_stacks;  ///< who allocated the blocks of `start`, where known
  std::size_t events = 0;
  std::uint32_t blocks = 0;   ///< Numbers of blocks in use; those of `start` that are not free come first, in order.
  bool partial = false;       ///< The file ended before the history did.
  bool complete = false;      ///< The history begins on an empty device.
  bool laid_out = true;       ///< false: without segments the layout is unknown (profiler traces)
  std::size_t ambiguous = 0;  ///< Blocks older than the trace whose size is known to 1 MiB only.
  std::size_t orphans = 0;    ///< Steps that contradict the rest; left out.
  Settings settings{};        ///< as recorded
  std::optional<std::int64_t> capacity;      ///< What the device could hand out, where an out-of-memory tells exactly.
  std::optional<std::int64_t> total_memory;  ///< The device's memory, where reserved address ranges tell.
  std::vector<std::string> warnings;
};

/// Throws athanor::Error if the device has no history (and says how to record one).
History history_of(const Snapshot& snapshot, std::int32_t device);

/// The device with the longest trace.
std::int32_t busiest_device(const Snapshot& snapshot);

}  // namespace athanor::allocator
