#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>

namespace athanor::allocator {

/// One counted or summed quantity.
struct Stat {
  std::int64_t current = 0;
  std::int64_t peak = 0;
  std::int64_t allocated = 0;  ///< Everything ever added.
  std::int64_t freed = 0;      ///< Everything ever taken away.

  bool operator==(const Stat&) const = default;
};

/// A quantity over all pools, and over small and large pools apart.
struct PoolStat {
  Stat all, small_pool, large_pool;

  bool operator==(const PoolStat&) const = default;
};

/// What torch.cuda.memory_stats reports, under the same names.
struct Statistics {
  PoolStat allocation, segment, active, inactive_split;
  PoolStat allocated_bytes, reserved_bytes, active_bytes, inactive_split_bytes, requested_bytes;
  Stat oversize_allocations, oversize_segments;
  std::int64_t num_alloc_retries = 0;
  std::int64_t num_ooms = 0;
  std::int64_t num_sync_all_streams = 0;
  std::int64_t num_device_alloc = 0;
  std::int64_t num_device_free = 0;
  std::int64_t max_split_size = -1;  ///< -1: no limit.

  /// The flat dictionary: "allocated_bytes.all.peak" and so on.
  [[nodiscard]] std::map<std::string, std::int64_t> named() const;

  bool operator==(const Statistics&) const = default;
};

}  // namespace athanor::allocator
