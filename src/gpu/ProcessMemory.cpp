#include "athanor/gpu/ProcessMemory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string>

namespace athanor::gpu {
namespace {

// "VmRSS:      1234 kB" (proc(5); kB there means 1024 bytes).
Bytes kibibytes(const std::string& line) {
  const auto digit = line.find_first_of("0123456789");
  std::int64_t count = 0;
  if (digit != std::string::npos) std::from_chars(line.data() + digit, line.data() + line.size(), count);
  return {count * 1024};
}

}  // namespace

MemoryReading read_process_memory() {
  MemoryReading reading;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) reading.resident = kibibytes(line);
    if (line.starts_with("VmHWM:")) reading.resident_peak = kibibytes(line);
  }
  // The kernel updates the high-water mark lazily.
  reading.resident_peak = std::max(reading.resident_peak, reading.resident);
  return reading;
}

}  // namespace athanor::gpu
