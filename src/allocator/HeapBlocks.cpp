#include <algorithm>

#include "allocator/Heap.h"

namespace athanor::allocator {

std::uint32_t CachingAllocator::Heap::new_node() {
  if (spare_nodes.empty()) {
    nodes.emplace_back();
    return static_cast<std::uint32_t>(nodes.size() - 1);
  }
  const std::uint32_t index = spare_nodes.back();
  spare_nodes.pop_back();
  nodes[index] = {};
  return index;
}

void CachingAllocator::Heap::delete_node(std::uint32_t index) {
  nodes[index].size = 0;  // marks it as nobody's
  spare_nodes.push_back(index);
}

std::uint32_t CachingAllocator::Heap::stream_index(Stream stream) {
  if (!streams.empty() && streams.front() == stream) return 0;
  const auto [known, is_new] = stream_indices.try_emplace(stream, static_cast<std::uint32_t>(streams.size()));
  if (is_new) streams.push_back(stream);
  return known->second;
}

std::uint16_t CachingAllocator::Heap::pool_for(std::int64_t size, Stream stream) const {
  const bool small = size <= largest_small;
  const auto serves = [&](const Capture& capture) {
    return capture.streams.empty() ||
           std::find(capture.streams.begin(), capture.streams.end(), stream) != capture.streams.end();
  };
  if (!captures.empty()) {
    // The innermost capture wins; before 2.9 it was the outermost.
    const bool innermost = device.version >= Version{2, 9};
    for (std::size_t i = 0; i < captures.size(); ++i) {
      const Capture& capture = captures[innermost ? captures.size() - 1 - i : i];
      if (serves(capture)) return small ? privates[capture.pool].small : privates[capture.pool].large;
    }
  }
  return small ? 0 : 1;
}

void CachingAllocator::Heap::insert_free(std::uint32_t index) {
  Node& node = nodes[index];
  Pool& pool = pools[node.pool];
  if (pool.free.size() <= node.stream) pool.free.resize(node.stream + 1);
  node.age_base = pool.searches;
  pool.free[node.stream].insert(node.size, node.address, index);
}

void CachingAllocator::Heap::erase_free(std::uint32_t index) {
  const Node& node = nodes[index];
  pools[node.pool].free[node.stream].erase(node.size, node.address);
}

void CachingAllocator::Heap::insert_between(std::uint32_t index, std::uint32_t before, std::uint32_t after) {
  nodes[index].previous = before;
  nodes[index].next = after;
  if (before != none) nodes[before].next = index;
  if (after != none) nodes[after].previous = index;
}

std::int64_t CachingAllocator::Heap::expandable_size(const Node& node) const {
  const bool can_grow = node.next != none && !nodes[node.next].mapped;
  return node.size + (can_grow ? nodes[node.next].size : 0);
}

bool CachingAllocator::Heap::splits(const Node& node, std::int64_t size) const {
  const std::int64_t rest = node.size - size;
  if (pools[node.pool].small || device.settings.expandable_segments) return rest >= smallest_block;
  return size < device.settings.max_split_size && rest > largest_small;
}

std::uint32_t CachingAllocator::Heap::find_free(const Request& request) {
  Pool& pool = pools[request.pool];
  const Settings& settings = device.settings;
  if (settings.garbage_collection_threshold > 0 && allowed()) ++pool.searches;
  if (pool.free.size() <= request.stream) return none;
  FreeList& list = pool.free[request.stream];
  FreeList::Cursor at = list.lower_bound(request.size);
  if (at == list.end()) return none;
  std::uint32_t found = list.block(at);
  if (nodes[found].range != none) {
    if (settings.expandable_segments) {
      // A block at the growing end counts as large as it can become: take a larger block before it.
      for (auto next = list.next(at); nodes[found].range != none && next != list.end() &&
                                      expandable_size(nodes[list.block(next)]) < expandable_size(nodes[found]);
           next = list.next(next)) {
        at = next;
        found = list.block(at);
      }
    } else {
      // Expandable segments were switched off meanwhile: only ordinary blocks will do.
      do {
        at = list.next(at);
      } while (at != list.end() && nodes[list.block(at)].range != none);
      if (at == list.end()) return none;
      found = list.block(at);
    }
  }
  const std::int64_t size = nodes[found].size;
  if (request.size < settings.max_split_size) {
    if (size >= settings.max_split_size) return none;
  } else if (size >= request.size + settings.max_non_split_rounding) {
    return none;
  }
  list.erase(at);
  return found;
}

Address CachingAllocator::Heap::hand_out(std::uint32_t found, const Request& request, std::int64_t requested) {
  const bool was_split = nodes[found].split();
  const Pool& pool = pools[request.pool];
  std::uint32_t index = found;
  if (splits(nodes[found], request.size)) {
    index = new_node();
    Node& block = nodes[index];
    Node& rest = nodes[found];
    block.address = rest.address;
    block.size = request.size;
    block.stream = rest.stream;
    block.pool = rest.pool;
    block.range = rest.range;
    insert_between(index, rest.previous, found);
    rest.address += static_cast<Address>(request.size);
    rest.size -= request.size;
    insert_free(found);
    if (rest.range == none) {
      if (was_split) {
        subtract(pool, sum_inactive_split, request.size);
      } else {
        add(pool, sum_inactive_split, rest.size);
        add(pool, count_inactive_split, 1);
      }
    }
  } else if (was_split && nodes[found].range == none) {
    subtract(pool, sum_inactive_split, nodes[found].size);
    subtract(pool, count_inactive_split, 1);
  }
  Node& block = nodes[index];
  block.allocated = true;
  block.requested = requested;
  live.insert(block.address, index);
  add(pool, count_allocation, 1);
  add(pool, sum_allocated, block.size);
  add(pool, count_active, 1);
  add(pool, sum_active, block.size);
  add(pool, sum_requested, requested);
  if (block.size >= device.settings.max_split_size) {
    Stat& stat = oversize_allocations;
    ++stat.allocated;
    stat.peak = std::max(stat.peak, ++stat.current);
  }
  report(Action::alloc, block.address, requested, block.stream, block.pool);
  return block.address;
}

std::int64_t CachingAllocator::Heap::merge(std::uint32_t into, std::uint32_t other) {
  if (other == none || !nodes[other].idle() || nodes[other].mapped != nodes[into].mapped) return 0;
  Node& node = nodes[into];
  const Node& gone = nodes[other];
  if (gone.mapped) {
    erase_free(other);
  } else {
    pools[gone.pool].unmapped.erase({{streams[gone.stream], gone.address}, other});
  }
  if (node.previous == other) {
    node.address = gone.address;
    node.previous = gone.previous;
    if (node.previous != none) nodes[node.previous].next = into;
  } else {
    node.next = gone.next;
    if (node.next != none) nodes[node.next].previous = into;
  }
  const std::int64_t size = gone.size;
  node.size += size;
  delete_node(other);
  return size;
}

void CachingAllocator::Heap::take_back(std::uint32_t index) {
  const std::int64_t size = nodes[index].size;
  const std::int64_t requested = nodes[index].requested;
  const Pool& pool = pools[nodes[index].pool];
  report(Action::free_completed, nodes[index].address, requested, nodes[index].stream, nodes[index].pool);
  nodes[index].requested = 0;

  std::int64_t split_blocks = 0;
  std::int64_t split_bytes = 0;
  const std::uint32_t neighbours[2] = {nodes[index].previous, nodes[index].next};
  for (const std::uint32_t neighbour : neighbours) {
    const std::int64_t merged = merge(index, neighbour);
    if (merged == 0) continue;
    --split_blocks;
    split_bytes -= merged;
  }
  insert_free(index);
  const Node& node = nodes[index];
  if (node.split()) {
    ++split_blocks;
    split_bytes += node.size;
  }
  // Free pages of expandable segments can always be given back, so upstream does not count them as stuck.
  if (node.range == none) {
    split_blocks > 0 ? add(pool, count_inactive_split, split_blocks)
                     : subtract(pool, count_inactive_split, -split_blocks);
    split_bytes > 0 ? add(pool, sum_inactive_split, split_bytes) : subtract(pool, sum_inactive_split, -split_bytes);
  }
  subtract(pool, count_active, 1);
  subtract(pool, sum_active, size);
  subtract(pool, sum_requested, requested);
}

std::vector<std::uint32_t> CachingAllocator::Heap::ordered(const Pool& pool) const {
  std::vector<std::uint32_t> by_stream;
  for (std::uint32_t s = 0; s < pool.free.size(); ++s) by_stream.push_back(s);
  std::sort(by_stream.begin(), by_stream.end(), [&](auto a, auto b) { return streams[a] < streams[b]; });
  std::vector<std::uint32_t> blocks;
  for (const std::uint32_t s : by_stream)
    for (auto at = pool.free[s].begin(); at != pool.free[s].end(); at = pool.free[s].next(at))
      blocks.push_back(pool.free[s].block(at));
  return blocks;
}

}  // namespace athanor::allocator
