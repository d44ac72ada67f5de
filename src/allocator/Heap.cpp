#include "allocator/Heap.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace athanor::allocator {

CachingAllocator::Heap::Heap(DeviceOptions options) : device(std::move(options)) {
  pools.push_back({.small = true, .owner = none, .free = {}, .unmapped = {}, .searches = 0});
  pools.push_back({.small = false, .owner = none, .free = {}, .unmapped = {}, .searches = 0});
  nodes.reserve(1024);
}

std::optional<Address> CachingAllocator::Heap::allocate(std::int64_t size, Stream stream) {
  if (captures.empty() && (!events.empty() || !deferred.empty())) process_events();
  Request request;
  request.size = size > largest_request ? largest_request : device.settings.rounded(size);
  request.stream = stream_index(stream);
  request.pool = pool_for(request.size, stream);

  std::uint32_t found = find_free(request);
  if (found == none) {
    request.segment = device.settings.segment_size(request.size);
    if (device.settings.garbage_collection_threshold > 0 && allowed()) collect_garbage();
    found = grow(request, false);
    if (found == none && release_oversize(request)) found = grow(request, false);
    if (found == none && captures.empty()) {
      release_all();
      found = grow(request, true);
    }
  }
  if (found == none) {
    ++ooms;
    const std::int64_t left = device.capacity == unlimited ? 0 : std::max<std::int64_t>(0, device.capacity - total);
    report(Action::oom, static_cast<Address>(left), request.size, request.stream, request.pool);
    return std::nullopt;
  }
  return hand_out(found, request, size);
}

void CachingAllocator::Heap::free(Address address, bool wait) {
  const std::uint32_t index = address == 0 ? AddressMap::absent : take_live(address);
  if (index == AddressMap::absent)
    throw std::invalid_argument(fmt::format("allocator: 0x{:x} is not an address that was handed out", address));
  Node& node = nodes[index];
  if (node.previous != none) __builtin_prefetch(&nodes[node.previous]);  // it will be asked whether it is free too
  if (node.next != none) __builtin_prefetch(&nodes[node.next]);
  node.allocated = false;
  const Pool& pool = pools[node.pool];
  subtract(pool, count_allocation, 1);
  subtract(pool, sum_allocated, node.size);
  report(Action::free_requested, address, node.requested, node.stream, node.pool);
  if (node.size >= device.settings.max_split_size) --oversize_allocations.current;

  if (wait) {
    node.awaited = true;
    awaiting.emplace(address, index);
  } else if (node.used_elsewhere && !captures.empty()) {
    deferred.push_back(index);  // events cannot be queried while a graph is captured
  } else if (node.used_elsewhere) {
    wait_for_streams(index);
  } else {
    take_back(index);
  }
}

// Work is queued on every stream that was named; the block comes back when all of it has finished.
void CachingAllocator::Heap::wait_for_streams(std::uint32_t index) {
  const auto named = uses.extract(index);
  nodes[index].used_elsewhere = false;
  for (const Stream stream : named.mapped()) {
    const std::uint32_t on = stream_index(stream);
    auto queue = std::find_if(events.begin(), events.end(), [&](const StreamEvents& e) { return e.stream == on; });
    if (queue == events.end()) queue = events.insert(events.end(), {on, {}, 0});
    queue->blocks.push_back(index);
    ++nodes[index].events;
  }
}

void CachingAllocator::Heap::complete_free(Address address) {
  const auto waiting = awaiting.find(address);
  if (waiting == awaiting.end())
    throw std::invalid_argument(fmt::format("allocator: no free of 0x{:x} is waiting to be completed", address));
  const std::uint32_t index = waiting->second;
  awaiting.erase(waiting);
  nodes[index].awaited = false;
  if (nodes[index].used_elsewhere) {
    uses.erase(index);
    nodes[index].used_elsewhere = false;
  }
  take_back(index);
}

void CachingAllocator::Heap::record_stream(Address address, Stream stream) {
  const std::uint32_t index = address == 0 ? AddressMap::absent : find_live(address);
  if (index == AddressMap::absent)
    throw std::invalid_argument(fmt::format("allocator: 0x{:x} is not an address that was handed out", address));
  if (streams[nodes[index].stream] == stream) return;
  nodes[index].used_elsewhere = true;
  uses[index].insert(stream);
}

void CachingAllocator::Heap::synchronize(Stream stream) {
  const std::uint32_t on = stream_index(stream);
  for (StreamEvents& queue : events)
    if (queue.stream == on) queue.finished = queue.blocks.size();
}

void CachingAllocator::Heap::process_events() {
  // What was freed during a capture: the graph orders the streams, so nothing is left to wait for.
  for (const std::uint32_t index : deferred) {
    uses.erase(index);
    nodes[index].used_elsewhere = false;
    take_back(index);
  }
  deferred.clear();
  for (StreamEvents& queue : events) {
    for (; queue.finished > 0; --queue.finished) {
      const std::uint32_t index = queue.blocks.front();
      queue.blocks.pop_front();
      if (--nodes[index].events == 0) take_back(index);
    }
  }
  std::erase_if(events, [](const StreamEvents& queue) { return queue.blocks.empty(); });
}

void CachingAllocator::Heap::synchronize_all() {
  ++syncs;
  for (StreamEvents& queue : events) queue.finished = queue.blocks.size();
  process_events();
  while (!awaiting.empty()) complete_free(awaiting.begin()->first);
}

void CachingAllocator::Heap::observe(Action action, Address address, std::int64_t size, std::uint32_t stream,
                                     std::uint16_t pool) const {
  const std::uint32_t owner = pools[pool].owner;
  observer({action, address, size, streams[stream], owner == none ? PoolId{0, 0} : privates[owner].id});
}

}  // namespace athanor::allocator
