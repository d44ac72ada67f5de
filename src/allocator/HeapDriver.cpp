#include <algorithm>
#include <stdexcept>

#include "allocator/Heap.h"

namespace athanor::allocator {

std::optional<std::int64_t> CachingAllocator::Heap::allowed() const {
  if (device.settings.memory_fraction >= 1) return std::nullopt;
  const std::int64_t memory = device.total_memory == unlimited ? device.capacity : device.total_memory;
  if (memory == unlimited) return std::nullopt;
  return static_cast<std::int64_t>(device.settings.memory_fraction * static_cast<double>(memory));
}

bool CachingAllocator::Heap::driver_has(std::int64_t bytes) const {
  return bytes <= device.capacity && total <= device.capacity - bytes;
}

std::uint32_t CachingAllocator::Heap::grow(const Request& request, bool retry) {
  if (retry) ++retries;
  if (request.size >= largest_request) return none;
  if (const auto limit = allowed(); limit && total + request.segment > *limit) return none;
  Pool& pool = pools[request.pool];
  if (device.settings.expandable_segments) {
    const std::uint32_t found = grow_expandable(request);
    if (found != none && pool.owner != none) ++privates[pool.owner].segments;
    return found;
  }
  if (!driver_has(request.segment)) return none;
  Address address = 0;
  if (device.place) {
    address = device.place(request.segment, false).address;
    if (address == 0 || address % smallest_block != 0 || !space.take_at(address, request.segment))
      throw std::invalid_argument("allocator: the place given for a segment is not free, or not a multiple of 512");
  } else {
    address = space.take(request.segment, device.order);
  }
  if (pool.owner != none) ++privates[pool.owner].segments;
  total += request.segment;
  const std::uint32_t index = new_node();
  Node& node = nodes[index];
  node.address = address;
  node.size = request.segment;
  node.stream = request.stream;
  node.pool = request.pool;
  add(pool, count_segment, 1);
  add(pool, sum_reserved, request.segment);
  if (request.segment >= device.settings.max_split_size) {
    Stat& stat = oversize_segments;
    ++stat.allocated;
    stat.peak = std::max(stat.peak, ++stat.current);
  }
  ++device_allocs;
  report(Action::segment_alloc, address, request.segment, request.stream, request.pool);
  return index;
}

void CachingAllocator::Heap::release(std::uint32_t index) {
  const Node& node = nodes[index];
  Pool& pool = pools[node.pool];
  ++device_frees;
  total -= node.size;
  if (pool.owner != none) --privates[pool.owner].segments;
  subtract(pool, count_segment, 1);
  subtract(pool, sum_reserved, node.size);
  if (node.size >= device.settings.max_split_size) --oversize_segments.current;
  space.give_back(node.address, node.size);
  erase_free(index);
  report(Action::segment_free, node.address, node.size, node.stream, node.pool);
  delete_node(index);
}

// With max_split_size set: give back the one cached block that is large enough, or the largest ones until their sum is.
bool CachingAllocator::Heap::release_oversize(const Request& request) {
  const std::int64_t threshold = device.settings.max_split_size;
  if (threshold == unlimited) return false;
  Pool& pool = pools[request.pool];
  if (pool.free.size() <= request.stream) return false;
  FreeList& list = pool.free[request.stream];
  const std::int64_t wanted = std::max(request.size, threshold);
  const auto at = list.lower_bound(wanted);
  if (at != list.end() && nodes[list.block(at)].range == none) {
    // Oversize blocks are never split, so this one is a whole segment.
    if (nodes[list.block(at)].split()) return false;
    release(list.block(at));
    return true;
  }
  std::vector<std::uint32_t> larger;  // from the largest down
  for (auto back = at; back != list.begin();) {
    back = list.previous(back);
    if (nodes[list.block(back)].size < threshold) break;
    larger.push_back(list.block(back));
  }
  std::int64_t released = 0;
  for (const std::uint32_t index : larger) {
    if (released >= wanted) break;
    if (nodes[index].range != none || nodes[index].split()) continue;
    released += nodes[index].size;
    release(index);
  }
  return released >= wanted;
}

void CachingAllocator::Heap::release_pool_blocks(std::uint16_t pool) {
  std::vector<std::uint32_t> pages;
  for (const std::uint32_t index : ordered(pools[pool])) {
    if (nodes[index].range != none) {
      pages.push_back(index);
    } else if (!nodes[index].split()) {
      release(index);
    }
  }
  for (const std::uint32_t index : pages) {
    unmap(index);
    if (!nodes[index].split() && !nodes[index].mapped) release_range(index);
  }
}

void CachingAllocator::Heap::release_all() {
  synchronize_all();
  release_pool_blocks(1);
  release_pool_blocks(0);
  for (PrivatePool& owner : privates) {
    if (!owner.alive || owner.users > 0) continue;
    release_pool_blocks(owner.small);
    release_pool_blocks(owner.large);
    if (owner.segments > 0) continue;
    owner.alive = false;
    private_ids.erase(owner.id);
  }
}

// Gives back whole free segments of the large pool that lay unused longer than the average, while the bytes held exceed
// the threshold.
void CachingAllocator::Heap::collect_garbage() {
  const auto limit = static_cast<std::int64_t>(device.settings.garbage_collection_threshold *
                                               static_cast<double>(allowed().value_or(unlimited)));
  if (total <= limit) return;
  const std::int64_t target = total - limit;
  const Pool& large = pools[1];
  const auto age = [&](const Node& node) { return large.searches - node.age_base; };
  std::vector<std::uint32_t> candidates;
  std::int64_t total_age = 0;
  for (const std::uint32_t index : ordered(large)) {
    if (nodes[index].split()) continue;
    candidates.push_back(index);
    total_age += age(nodes[index]);
  }
  auto left = static_cast<std::int64_t>(candidates.size());
  std::int64_t reclaimed = 0;
  bool freed = true;
  while (reclaimed < target && freed && left > 0) {
    const double threshold = static_cast<double>(total_age) / static_cast<double>(left);
    freed = false;
    for (std::uint32_t& index : candidates) {
      if (index == none || nodes[index].range != none) continue;
      const std::int64_t unused = age(nodes[index]);
      if (static_cast<double>(unused) < threshold) continue;
      freed = true;
      reclaimed += nodes[index].size;
      total_age -= unused;
      --left;
      release(index);
      index = none;
    }
  }
}

}  // namespace athanor::allocator
