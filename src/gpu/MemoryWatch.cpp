#include "athanor/gpu/MemoryWatch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "athanor/gpu/ProcessMemory.h"

namespace athanor::gpu {

MemoryWatch::MemoryWatch(std::function<Allocator()> allocator, std::function<std::optional<Bytes>()> process)
    : allocator_(std::move(allocator)), process_(std::move(process)) {}

std::map<std::string, double> MemoryWatch::read() {
  std::map<std::string, double> values;
  const auto put = [&](const char* name, Bytes bytes) { values[name] = static_cast<double>(bytes.count); };
  if (!allocator_) {
    const MemoryReading reading = read_process_memory();
    put("memory_resident", reading.resident);
    highest_ = std::max(highest_, reading.resident_peak);
  } else {
    const Allocator device = allocator_();
    put("memory_allocated", device.allocated);
    put("memory_reserved", device.reserved);
    highest_ = std::max(highest_, device.reserved);
    if (const auto process = process_ ? process_() : std::nullopt) {
      put("memory_process", *process);
      highest_ = std::max(highest_, *process);
    }
  }
  put("memory_highest", highest_);
  return values;
}

std::string forecast_verdict(Bytes forecast, Bytes highest) {
  constexpr double tolerated = 0.05;
  if (forecast.count <= 0 || highest.count <= 0) return "";
  const double error = static_cast<double>((highest - forecast).count) / static_cast<double>(forecast.count);
  if (std::abs(error) <= tolerated) return "";
  return fmt::format("memory: {} at the highest, forecast {}: {:.0f} % {}", highest.text(), forecast.text(),
                     100 * std::abs(error), error > 0 ? "more" : "less");
}

}  // namespace athanor::gpu
