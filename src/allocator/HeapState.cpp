#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "allocator/Heap.h"

namespace athanor::allocator {
namespace {

void check(const Segment& segment) {
  const auto fail = [&](const char* what) {
    throw std::invalid_argument(
        fmt::format("allocator: segment 0x{:x} of {} bytes: {}", segment.address, segment.size, what));
  };
  if (segment.size <= 0 || segment.size > largest_request) fail("its size is impossible");
  if (segment.address == 0 || segment.address > (Address{1} << 57)) fail("its address is impossible");
  if (segment.address % smallest_block != 0 || segment.size % smallest_block != 0) fail("not a multiple of 512 bytes");
  Address at = segment.address;
  std::int64_t left = segment.size;
  for (const Block& block : segment.blocks) {
    if (block.address != at || block.size <= 0 || block.size > left || block.size % smallest_block != 0)
      fail("its blocks do not tile it");
    if (block.requested < 0 || block.requested > block.size) fail("a block is smaller than what was asked for");
    at += static_cast<Address>(block.size);
    left -= block.size;
  }
  if (left != 0) fail("its blocks do not tile it");
}

Stat stat(const Counters& counters, Quantity quantity) {
  return {counters.current[quantity], counters.peak[quantity], counters.allocated[quantity],
          counters.base[quantity] + counters.allocated[quantity] - counters.current[quantity]};
}

PoolStat stats(const std::array<Counters, 3>& counters, Quantity quantity) {
  return {stat(counters[0], quantity), stat(counters[1], quantity), stat(counters[2], quantity)};
}

}  // namespace

std::uint32_t CachingAllocator::Heap::private_pool(PoolId id) {
  const auto [known, is_new] = private_ids.try_emplace(id, static_cast<std::uint32_t>(privates.size()));
  if (is_new) {
    if (pools.size() + 2 > 0xffff) throw std::invalid_argument("allocator: more than 32,766 private pools");
    const auto first = static_cast<std::uint16_t>(pools.size());
    pools.push_back({.small = true, .owner = known->second, .free = {}, .unmapped = {}, .searches = 0});
    pools.push_back({.small = false, .owner = known->second, .free = {}, .unmapped = {}, .searches = 0});
    privates.push_back({.id = id, .small = first, .large = static_cast<std::uint16_t>(first + 1)});
  }
  return known->second;
}

void CachingAllocator::Heap::begin_pool(PoolId id, std::vector<Stream> on) {
  if (id == PoolId{0, 0}) throw std::invalid_argument("allocator::begin_pool: {0, 0} is the shared pools' own id");
  for (const Capture& capture : captures)
    if (capture.id == id) throw std::invalid_argument("allocator::begin_pool: this pool is being allocated to already");
  const std::uint32_t index = private_pool(id);
  ++privates[index].users;
  captures.push_back({id, index, std::move(on)});
}

void CachingAllocator::Heap::end_pool(PoolId id) {
  const auto at = std::find_if(captures.begin(), captures.end(), [&](const Capture& c) { return c.id == id; });
  if (at == captures.end()) throw std::invalid_argument("allocator::end_pool: this pool is not being allocated to");
  captures.erase(at);
}

void CachingAllocator::Heap::release_pool(PoolId id) {
  const auto known = private_ids.find(id);
  if (known == private_ids.end() || privates[known->second].users == 0)
    throw std::invalid_argument("allocator::release_pool: no such pool, or nobody uses it");
  --privates[known->second].users;
}

std::uint16_t CachingAllocator::Heap::restored_pool(PoolId id, bool large) {
  if (id == PoolId{0, 0}) return large ? 1 : 0;
  PrivatePool& owner = privates[private_pool(id)];
  if (owner.users == 0) owner.users = 1;
  return large ? owner.large : owner.small;
}

void CachingAllocator::Heap::restore_blocks(const Segment& segment, std::uint16_t pool_index, std::uint32_t range,
                                            std::uint32_t& previous) {
  Pool& pool = pools[pool_index];
  const std::uint32_t stream = stream_index(segment.stream);
  std::vector<std::uint32_t> made;
  for (const Block& block : segment.blocks) {
    if (block.state == BlockState::free && !made.empty() && nodes[made.back()].idle()) {
      nodes[made.back()].size += block.size;
      continue;
    }
    const std::uint32_t index = new_node();
    Node& node = nodes[index];
    node.address = block.address;
    node.size = block.size;
    node.stream = stream;
    node.pool = pool_index;
    node.range = range;
    node.requested = block.state == BlockState::free ? 0 : block.requested;
    node.allocated = block.state == BlockState::live;
    node.awaited = block.state == BlockState::pending;
    insert_between(index, previous, none);
    previous = index;
    made.push_back(index);
    if (block.state == BlockState::free) continue;
    add(pool, count_active, 1);
    add(pool, sum_active, block.size);
    add(pool, sum_requested, block.requested);
    if (node.awaited) awaiting.emplace(block.address, index);
    if (!node.allocated) continue;
    live.insert(block.address, index);
    add(pool, count_allocation, 1);
    add(pool, sum_allocated, block.size);
  }
  for (const std::uint32_t index : made) {
    if (!nodes[index].idle()) continue;
    insert_free(index);
    if (!nodes[index].split() || range != none) continue;
    add(pool, count_inactive_split, 1);
    add(pool, sum_inactive_split, nodes[index].size);
  }
  total += segment.size;
  add(pool, sum_reserved, segment.size);
  if (pool.owner != none) ++privates[pool.owner].segments;
  if (range == none) add(pool, count_segment, 1);
}

void CachingAllocator::Heap::restore_range(const Reserve& reserve, std::span<const Segment* const> mapped) {
  const std::uint16_t pool = restored_pool(reserve.pool, reserve.large);
  Range range;
  range.page = reserve.large ? device.settings.large_segment_size : small_page;
  range.base = reserve.address;
  range.length = (reserve.size + range.page - 1) / range.page * range.page;
  if (!space.take_at(range.base, range.length))
    throw std::invalid_argument(fmt::format("allocator: the range at 0x{:x} overlaps another", range.base));
  ranges.push_back(range);
  const auto range_index = static_cast<std::uint32_t>(ranges.size() - 1);
  const std::uint32_t stream = stream_index(reserve.stream);
  std::uint32_t previous = none;
  Address at = range.base;
  const auto gap = [&](Address to) {
    if (to == at) return;
    const std::uint32_t index = new_node();
    Node& node = nodes[index];
    node.address = at;
    node.size = static_cast<std::int64_t>(to - at);
    node.stream = stream;
    node.pool = pool;
    node.range = range_index;
    node.mapped = false;
    insert_between(index, previous, none);
    previous = index;
    pools[pool].unmapped.insert({{reserve.stream, at}, index});
  };
  for (const Segment* segment : mapped) {
    if (segment->address < at || (segment->address - range.base) % static_cast<Address>(range.page) != 0 ||
        segment->size % range.page != 0)
      throw std::invalid_argument(
          fmt::format("allocator: expandable segment 0x{:x} does not lie on pages of its range", segment->address));
    gap(segment->address);
    restore_blocks(*segment, pool, range_index, previous);
    at = segment->address + static_cast<Address>(segment->size);
  }
  gap(range.base + static_cast<Address>(range.length));
}

void CachingAllocator::Heap::restore(std::span<const Segment> given, std::span<const Reserve> reserves) {
  if (!nodes.empty()) throw std::invalid_argument("allocator::restore: only before the first allocation");
  std::vector<const Segment*> sorted;
  for (const Segment& segment : given) {
    check(segment);
    sorted.push_back(&segment);
  }
  const auto by_address = [](const Segment* a, const Segment* b) { return a->address < b->address; };
  std::sort(sorted.begin(), sorted.end(), by_address);
  std::vector<Reserve> all(reserves.begin(), reserves.end());
  const auto holds = [](const Reserve& r, const Segment& s) {
    return r.stream == s.stream && r.pool == s.pool && r.large == s.large && r.address <= s.address &&
           s.address - r.address < static_cast<Address>(r.size);
  };
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const Segment& segment = *sorted[i];
    if (!segment.expandable || std::any_of(all.begin(), all.end(), [&](const auto& r) { return holds(r, segment); }))
      continue;
    // Up to the next segment that is not this range's, at most 1 1/8 of the device.
    Reserve reserve{segment.address, range_length(), segment.stream, segment.pool, segment.large};
    const auto page = static_cast<Address>(segment.large ? device.settings.large_segment_size : small_page);
    for (std::size_t j = i + 1; j < sorted.size(); ++j) {
      const Segment& other = *sorted[j];
      const Address offset = other.address - reserve.address;
      if (offset >= static_cast<Address>(reserve.size)) break;
      if (other.expandable && holds(reserve, other) && offset % page == 0) continue;
      reserve.size = static_cast<std::int64_t>(offset / page * page);
      break;
    }
    all.push_back(reserve);
  }
  for (const Reserve& reserve : all) {
    std::vector<const Segment*> mapped;
    for (const Segment* segment : sorted)
      if (segment->expandable && holds(reserve, *segment)) mapped.push_back(segment);
    restore_range(reserve, mapped);
  }
  for (const Segment* segment : sorted) {
    if (segment->expandable) continue;
    if (!space.take_at(segment->address, segment->size))
      throw std::invalid_argument(fmt::format("allocator: segment 0x{:x} overlaps another", segment->address));
    std::uint32_t previous = none;
    restore_blocks(*segment, restored_pool(segment->pool, segment->large), none, previous);
  }
}

std::vector<Segment> CachingAllocator::Heap::segments() const {
  std::vector<Segment> out;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Node& head = nodes[i];
    if (head.size == 0 || !head.mapped) continue;
    if (head.previous != none && nodes[head.previous].mapped) continue;
    const Pool& pool = pools[head.pool];
    Segment segment;
    segment.address = head.address;
    segment.stream = streams[head.stream];
    if (pool.owner != none) segment.pool = privates[pool.owner].id;
    segment.large = !pool.small;
    segment.expandable = head.range != none;
    for (auto at = static_cast<std::uint32_t>(i); at != none && nodes[at].mapped; at = nodes[at].next) {
      const Node& node = nodes[at];
      const BlockState state =
          node.allocated ? BlockState::live : (node.idle() ? BlockState::free : BlockState::pending);
      segment.blocks.push_back({node.address, node.size, node.requested, state});
      segment.size += node.size;
    }
    out.push_back(std::move(segment));
  }
  std::sort(out.begin(), out.end(), [](const Segment& a, const Segment& b) { return a.address < b.address; });
  return out;
}

Statistics CachingAllocator::Heap::statistics() const {
  Statistics out;
  out.allocation = stats(counters, count_allocation);
  out.segment = stats(counters, count_segment);
  out.active = stats(counters, count_active);
  out.inactive_split = stats(counters, count_inactive_split);
  out.allocated_bytes = stats(counters, sum_allocated);
  out.reserved_bytes = stats(counters, sum_reserved);
  out.active_bytes = stats(counters, sum_active);
  out.inactive_split_bytes = stats(counters, sum_inactive_split);
  out.requested_bytes = stats(counters, sum_requested);
  out.oversize_allocations = oversize_allocations;
  out.oversize_allocations.freed = oversize_allocations.allocated - oversize_allocations.current;
  out.oversize_segments = oversize_segments;
  out.oversize_segments.freed = oversize_segments.allocated - oversize_segments.current;
  out.num_alloc_retries = retries;
  out.num_ooms = ooms;
  out.num_sync_all_streams = syncs;
  out.num_device_alloc = device_allocs;
  out.num_device_free = device_frees;
  if (device.settings.max_split_size != unlimited) out.max_split_size = device.settings.max_split_size;
  return out;
}

}  // namespace athanor::allocator
