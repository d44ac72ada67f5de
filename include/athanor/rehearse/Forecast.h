#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "athanor/allocator/CachingAllocator.h"
#include "athanor/gpu/Table.h"
#include "athanor/rehearse/Ledger.h"

namespace athanor::rehearse {

/// Between which values a number lies, and the one to plan with.
struct Range {
  std::int64_t low = 0;
  std::int64_t value = 0;
  std::int64_t high = 0;
};

/// Peaks in bytes, of one device.
struct Peak {
  Range requested;  ///< What the program asked for.
  Range allocated;  ///< In the allocator's blocks: torch.cuda.max_memory_allocated.
  Range reserved;   ///< In segments taken from the driver: torch.cuda.max_memory_reserved.
  Range process;    ///< Reserved, and the CUDA context: what nvidia-smi shows.
};

/// What a rehearsal found. Of several devices the one that needs most.
struct Forecast {
  gpu::Gpu gpu;
  int device = 0;
  Peak peak;
  ByCategory by_category{};      ///< Allocated bytes at the peak.
  std::uint32_t peak_event = 0;  ///< Index into ledger.events.
  std::string peak_operator;     ///< What asked for the byte that made the peak.
  std::string peak_module;
  Phase peak_phase = Phase::setup;
  int peak_step = 0;
  int steps = 0;
  bool fits = false;         ///< Whether the process needs no more than the GPU's usable memory.
  bool surely_fits = false;  ///< Likewise of the range's upper end.
  double seconds = 0;
  Ledger ledger;

  /// Bytes of the peak's uncertainty that rest on library workspaces nobody can know without the library.
  [[nodiscard]] std::int64_t uncertain() const { return peak.allocated.high - peak.allocated.low; }

  /// What the number rests on, a line each: values that the program read off the GPU and were made up, workspaces only
  /// bounded. Callers may add their own.
  std::vector<std::string> notes;
};

/// What a ledger's allocations and frees need under other settings or another order of addresses.
/// Blocks of uncertain size take their lower bound, their size, or their upper bound.
enum class Bound : std::uint8_t { low, value, high };
struct Replayed {
  std::int64_t requested = 0, allocated = 0, reserved = 0;  ///< Peaks in bytes.
};
Replayed replay(const Ledger& ledger, const allocator::DeviceOptions& options, Bound bound = Bound::value,
                int device = 0);

/// The forecast that a ledger amounts to on a GPU.
Forecast forecast_of(Ledger ledger, const gpu::Gpu& gpu, const allocator::DeviceOptions& options, int devices = 1);

}  // namespace athanor::rehearse
