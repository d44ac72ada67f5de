#include "athanor/allocator/Statistics.h"

namespace athanor::allocator {
namespace {

void add(std::map<std::string, std::int64_t>& flat, const std::string& prefix, const Stat& stat) {
  flat[prefix + ".current"] = stat.current;
  flat[prefix + ".peak"] = stat.peak;
  flat[prefix + ".allocated"] = stat.allocated;
  flat[prefix + ".freed"] = stat.freed;
}

void add(std::map<std::string, std::int64_t>& flat, const std::string& name, const PoolStat& stat) {
  add(flat, name + ".all", stat.all);
  add(flat, name + ".small_pool", stat.small_pool);
  add(flat, name + ".large_pool", stat.large_pool);
}

}  // namespace

std::map<std::string, std::int64_t> Statistics::named() const {
  std::map<std::string, std::int64_t> flat;
  add(flat, "allocation", allocation);
  add(flat, "segment", segment);
  add(flat, "active", active);
  add(flat, "inactive_split", inactive_split);
  add(flat, "allocated_bytes", allocated_bytes);
  add(flat, "reserved_bytes", reserved_bytes);
  add(flat, "active_bytes", active_bytes);
  add(flat, "inactive_split_bytes", inactive_split_bytes);
  add(flat, "requested_bytes", requested_bytes);
  add(flat, "oversize_allocations", oversize_allocations);
  add(flat, "oversize_segments", oversize_segments);
  flat["num_alloc_retries"] = num_alloc_retries;
  flat["num_ooms"] = num_ooms;
  flat["num_sync_all_streams"] = num_sync_all_streams;
  flat["num_device_alloc"] = num_device_alloc;
  flat["num_device_free"] = num_device_free;
  flat["max_split_size"] = max_split_size;
  return flat;
}

}  // namespace athanor::allocator
