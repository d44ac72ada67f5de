#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "athanor/allocator/History.h"

namespace athanor::allocator {

/// How much of a recorded history the model reproduces, event by event.
struct Fidelity {
  struct Count {
    std::size_t recorded = 0;
    std::size_t matched = 0;
  };
  Count addresses;       ///< Allocations: the same address.
  Count segment_allocs;  ///< Segments or pages taken from the driver: the same size, at the same allocation.
  Count segment_frees;   ///< Given back: the same address and size, in the same order.
  std::size_t layout_differences = 0;  ///< Segments at the end that differ in any block.
  std::size_t orphans = 0;             ///< Frees of addresses nobody handed out; left out.
  std::int64_t recorded_peak_reserved = 0;

  [[nodiscard]] bool exact() const {
    return addresses.matched == addresses.recorded && segment_allocs.matched == segment_allocs.recorded &&
           segment_frees.matched == segment_frees.recorded && layout_differences == 0;
  }
};

/// A moment of a history.
struct Moment {
  std::size_t step = 0;
  std::int64_t time_us = 0;
  std::int64_t allocated = 0;
  std::int64_t reserved = 0;
  std::int64_t stuck = 0;  ///< Free, but in segments that are partly in use: cannot be given back.
};

/// Who holds bytes at the peak: blocks with the same culprit frame.
struct Holder {
  std::string frame;   ///< "" where no call stack was recorded
  bool older = false;  ///< Without a call stack because the blocks are older than the history.
  std::int64_t bytes = 0;
  std::size_t blocks = 0;
};

/// The recorded history run through the model with the recorded settings and addresses.
struct Replay {
  Fidelity fidelity;
  std::int64_t peak_allocated = 0;
  std::int64_t peak_requested = 0;
  std::int64_t peak_reserved = 0;
  std::size_t recorded_ooms = 0;
  std::vector<Moment> moments;  ///< At most `samples`, always including both peaks.
  Moment peak;                  ///< Where most is allocated.
  std::vector<Holder> holders;  ///< At that moment, largest first.
  std::vector<Segment> segments_at_peak;
  std::unordered_map<Address, std::uint32_t> stacks_at_peak;  ///< of the live blocks
};

Replay replay(const Snapshot& snapshot, const History& history, std::size_t samples = 1000);

/// What a history needs under other settings.
struct Outcome {
  Settings settings;
  std::int64_t peak_reserved = 0;        ///< With new segments where the driver puts them on Linux…
  std::int64_t peak_reserved_other = 0;  ///< …and at rising addresses: PyTorch breaks ties by address.
  std::int64_t peak_allocated = 0;
  std::int64_t retries = 0;     ///< How often the cache was emptied to make room (the worse of both orders).
  bool out_of_memory = false;   ///< In either order.
  std::size_t failed_step = 0;  ///< Where, if so.
  std::int64_t failed_size = 0;

  [[nodiscard]] std::int64_t lowest() const { return std::min(peak_reserved, peak_reserved_other); }
  [[nodiscard]] std::int64_t highest() const { return std::max(peak_reserved, peak_reserved_other); }
};

/// Runs the history from an empty device under `settings`, at most `capacity` bytes from the driver. Blocks older than
/// the history are allocated first, in the order of their addresses.
Outcome what_if(const History& history, const Settings& settings, std::int64_t capacity);

/// The settings worth trying for a history, the recorded ones first. Garbage collection acts only where memory is
/// limited.
std::vector<Settings> candidates(const History& history, std::int64_t capacity);

/// One sentence of advice, and the line to set: "" where nothing is to be gained.
struct Advice {
  std::string sentence;
  std::string conf;
};

/// `outcomes` as of `candidates` (the recorded settings first).
Advice advise(const Replay& replay, const std::vector<Outcome>& outcomes, std::int64_t capacity);

}  // namespace athanor::allocator
