#include <algorithm>
#include <stdexcept>

#include "allocator/Heap.h"

namespace athanor::allocator {
// 1 1/8 of the device, so that pages unmapped early can be mapped again at the end.
std::int64_t CachingAllocator::Heap::range_length() const {
  constexpr std::int64_t assumed = std::int64_t{1}
                                   << 38;  // where nothing says how large the device is: larger than any
  std::int64_t memory = device.total_memory == unlimited ? device.capacity : device.total_memory;
  if (memory == unlimited) memory = assumed;
  return memory + memory / 8;
}

std::uint32_t CachingAllocator::Heap::reserve_range(const Request& request) {
  const Pool& pool = pools[request.pool];
  Range range;
  range.page = pool.small ? small_page : device.settings.large_segment_size;
  const std::int64_t wanted = std::max(range_length(), request.size);
  range.length = (wanted + range.page - 1) / range.page * range.page;
  if (device.place) {
    const Place place = device.place(range.length, true);
    range.base = place.address;
    // Whoever knows the addresses may not know how much of them was reserved.
    range.length = std::min({range.length, place.room, space.room(range.base)}) / range.page * range.page;
    if (range.base == 0 || range.base % smallest_block != 0 || range.length < request.size ||
        !space.take_at(range.base, range.length))
      throw std::invalid_argument("allocator: the place given for a range is not free, or not a multiple of 512");
  } else {
    // Linux reserves them at rising addresses of their own.
    range.base = space.take(range.length, device.order == AddressOrder::falling ? device.order : AddressOrder::rising);
  }
  ranges.push_back(range);
  const std::uint32_t index = new_node();
  Node& node = nodes[index];
  node.address = range.base;
  node.size = range.length;
  node.stream = request.stream;
  node.pool = request.pool;
  node.range = static_cast<std::uint32_t>(ranges.size() - 1);
  node.mapped = false;
  pools[request.pool].unmapped.insert({{streams[node.stream], node.address}, index});
  return index;
}

// The lowest place where mapped-and-free and unmapped neighbours together have room; a new range if there is none.
std::uint32_t CachingAllocator::Heap::find_expandable(const Request& request) {
  const Pool& pool = pools[request.pool];
  const Stream stream = streams[request.stream];
  for (auto it = pool.unmapped.lower_bound({{stream, 0}, 0}); it != pool.unmapped.end() && it->first.first == stream;
       ++it) {
    std::uint32_t candidate = it->second;
    const std::uint32_t before = nodes[candidate].previous;
    if (before != none && nodes[before].idle()) candidate = before;
    std::int64_t room = 0;
    for (std::uint32_t at = candidate; room < request.size && at != none && nodes[at].idle(); at = nodes[at].next)
      room += nodes[at].size;
    if (room >= request.size) return candidate;
  }
  return reserve_range(request);
}

bool CachingAllocator::Heap::map(std::uint32_t index, std::int64_t size) {
  const Range range = ranges[nodes[index].range];
  const std::int64_t bytes = (size + range.page - 1) / range.page * range.page;
  if (!driver_has(bytes)) return false;
  const Address begin = nodes[index].address;
  Pool& pool = pools[nodes[index].pool];
  const Stream stream = streams[nodes[index].stream];
  pool.unmapped.erase({{stream, begin}, index});
  nodes[index].mapped = true;
  if (bytes < nodes[index].size) {
    const std::uint32_t rest = new_node();
    Node& node = nodes[index];
    nodes[rest].address = begin + static_cast<Address>(bytes);
    nodes[rest].size = node.size - bytes;
    nodes[rest].stream = node.stream;
    nodes[rest].pool = node.pool;
    nodes[rest].range = node.range;
    nodes[rest].mapped = false;
    insert_between(rest, index, node.next);
    pool.unmapped.insert({{stream, nodes[rest].address}, rest});
    node.size = bytes;
  }
  merge(index, nodes[index].previous);
  merge(index, nodes[index].next);
  insert_free(index);
  total += bytes;
  add(pool, sum_reserved, bytes);
  ++device_allocs;
  report(Action::segment_map, begin, bytes, nodes[index].stream, nodes[index].pool);
  return true;
}

std::uint32_t CachingAllocator::Heap::grow_expandable(const Request& request) {
  std::uint32_t candidate = find_expandable(request);
  if (!nodes[candidate].mapped && !map(candidate, std::min(nodes[candidate].size, request.size))) return none;
  while (nodes[candidate].size < request.size) {
    const std::int64_t missing = request.size - nodes[candidate].size;
    const std::uint32_t next = nodes[candidate].next;
    if (!map(next, std::min(missing, nodes[next].size))) return none;
    candidate = next;  // it absorbed the free block before it
  }
  erase_free(candidate);
  return candidate;
}

void CachingAllocator::Heap::unmap(std::uint32_t index) {
  const Range range = ranges[nodes[index].range];
  const auto offset = static_cast<std::int64_t>(nodes[index].address - range.base);
  const std::int64_t begin = (offset + range.page - 1) / range.page * range.page;
  const std::int64_t end = (offset + nodes[index].size) / range.page * range.page;
  if (begin >= end) return;
  erase_free(index);
  const auto piece = [&](std::int64_t from, std::int64_t to) {
    const std::uint32_t part = new_node();
    nodes[part].address = range.base + static_cast<Address>(from);
    nodes[part].size = to - from;
    nodes[part].stream = nodes[index].stream;
    nodes[part].pool = nodes[index].pool;
    nodes[part].range = nodes[index].range;
    return part;
  };
  const std::int64_t finish = offset + nodes[index].size;
  if (begin > offset) {
    const std::uint32_t before = piece(offset, begin);
    insert_between(before, nodes[index].previous, index);
    insert_free(before);
  }
  if (finish > end) {
    const std::uint32_t after = piece(end, finish);
    insert_between(after, index, nodes[index].next);
    insert_free(after);
  }
  Pool& pool = pools[nodes[index].pool];
  nodes[index].address = range.base + static_cast<Address>(begin);
  nodes[index].size = end - begin;
  nodes[index].mapped = false;
  merge(index, nodes[index].previous);
  merge(index, nodes[index].next);
  pool.unmapped.insert({{streams[nodes[index].stream], nodes[index].address}, index});
  total -= end - begin;
  subtract(pool, sum_reserved, end - begin);
  if (pool.owner != none) --privates[pool.owner].segments;
  ++device_frees;
  report(Action::segment_unmap, range.base + static_cast<Address>(begin), end - begin, nodes[index].stream,
         nodes[index].pool);
}

void CachingAllocator::Heap::release_range(std::uint32_t index) {
  const Node& node = nodes[index];
  pools[node.pool].unmapped.erase({{streams[node.stream], node.address}, index});
  space.give_back(ranges[node.range].base, ranges[node.range].length);
  ranges[node.range].alive = false;
  delete_node(index);
}

}  // namespace athanor::allocator
