#include "gpu/nvml/Processes.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace athanor::gpu::nvml {
namespace {

constexpr std::size_t kLargestRecord = 64;  // room for a record larger than any known
constexpr Count kMostProcesses = 65536;
constexpr std::byte kUntouched{0xA5};

// The buffer was all `kUntouched`; how far the library wrote gives the record's size, as every version's last field is
// one that it sets.
std::size_t record_size(const std::vector<std::byte>& buffer, Count count) {
  const auto last = std::find_if(buffer.rbegin(), buffer.rend(), [](std::byte b) { return b != kUntouched; });
  const auto written = static_cast<std::size_t>(buffer.rend() - last);
  for (const std::size_t size : {16u, 24u, 32u})
    if (written <= size * count) return size;
  return 0;
}

template <class Number>
Number number_at(const std::byte* record, std::size_t offset) {
  Number number;
  std::memcpy(&number, record + offset, sizeof(number));
  return number;
}

}  // namespace

Return list_processes(Return (*query)(Device, Count*, void*), Device device, std::vector<ProcessRecord>& processes) {
  processes.clear();
  if (query == nullptr) return kFunctionNotFound;
  // Processes may start between asking how many and asking which.
  for (Count room = 0; room <= kMostProcesses;) {
    std::vector<std::byte> buffer(room * kLargestRecord, kUntouched);
    Count count = room;
    const Return result = query(device, &count, room == 0 ? nullptr : buffer.data());
    if (result == kInsufficientSize) {
      room = std::max(count, room) + 8;
      continue;
    }
    if (result != kSuccess || count == 0) return result;
    const std::size_t size = count <= room ? record_size(buffer, count) : 0;
    if (size == 0) return kFunctionNotFound;  // a layout nobody has told us of: say nothing rather than nonsense
    for (Count i = 0; i < count; ++i) {
      const std::byte* record = buffer.data() + i * size;
      processes.push_back({.pid = number_at<Count>(record, 0),
                           .used_bytes = number_at<Long>(record, 8),
                           .gpu_instance = size >= 24 ? number_at<Count>(record, 16) : kNoInstance});
    }
    return kSuccess;
  }
  return kInsufficientSize;
}

}  // namespace athanor::gpu::nvml
