#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "athanor/core/Bytes.h"

namespace athanor::gpu {

/// Memory of this process while it trains, for logs: on a GPU what the allocator handed out and holds and what the
/// driver counts for the process; on a CPU the resident memory. Remembers the highest. Not thread-safe.
class MemoryWatch {
 public:
  struct Allocator {
    Bytes allocated, reserved;
  };

  /// `allocator` reads the device's caching allocator, `process` what the driver counts for this process; either may be
  /// empty. Without `allocator` the watched memory is the process's resident memory.
  explicit MemoryWatch(std::function<Allocator()> allocator = {}, std::function<std::optional<Bytes>()> process = {});

  /// Reads now: values by name, "memory_resident" on a CPU; "memory_allocated", "memory_reserved", "memory_process" on
  /// a GPU; and "memory_highest".
  std::map<std::string, double> read();

  /// Whether the driver tells what this process holds: then the highest counts its CUDA context too.
  [[nodiscard]] bool sees_process() const { return process_ && process_().has_value(); }
  [[nodiscard]] Bytes highest() const { return highest_; }

 private:
  std::function<Allocator()> allocator_;
  std::function<std::optional<Bytes>()> process_;
  Bytes highest_;
};

/// One line where a forecast was wrong by more than 5 %, "" otherwise or where there is nothing to compare:
/// "memory: 4.20 GiB at the highest, forecast 3.50 GiB: 20 % more".
std::string forecast_verdict(Bytes forecast, Bytes highest);

}  // namespace athanor::gpu
