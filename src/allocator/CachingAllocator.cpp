#include "athanor/allocator/CachingAllocator.h"

#include <fmt/format.h>

#include <stdexcept>

#include "allocator/Heap.h"

namespace athanor::allocator {

CachingAllocator::CachingAllocator(DeviceOptions options) : heap_(std::make_unique<Heap>(std::move(options))) {}
CachingAllocator::~CachingAllocator() = default;
CachingAllocator::CachingAllocator(CachingAllocator&&) noexcept = default;
CachingAllocator& CachingAllocator::operator=(CachingAllocator&&) noexcept = default;

std::optional<Address> CachingAllocator::allocate(std::int64_t size, Stream stream) {
  if (size < 0) throw std::invalid_argument(fmt::format("allocator: a size must not be negative, got {}", size));
  if (size == 0) return Address{0};
  return heap_->allocate(size, stream);
}

void CachingAllocator::free(Address address) {
  if (address != 0) heap_->free(address, false);
}

void CachingAllocator::request_free(Address address) {
  if (address != 0) heap_->free(address, true);
}

void CachingAllocator::complete_free(Address address) {
  if (address != 0) heap_->complete_free(address);
}

bool CachingAllocator::waits(Address address) const {
  return heap_->awaiting.contains(address);
}

void CachingAllocator::record_stream(Address address, Stream stream) {
  if (address != 0) heap_->record_stream(address, stream);
}

void CachingAllocator::synchronize(Stream stream) {
  heap_->synchronize(stream);
}

void CachingAllocator::empty_cache() {
  heap_->release_all();
}

bool CachingAllocator::release_segment(Address address) {
  for (std::uint32_t i = 0; i < heap_->nodes.size(); ++i) {
    const Node& node = heap_->nodes[i];
    if (node.size == 0 || node.address != address) continue;
    if (!node.mapped || !node.idle() || node.split() || node.range != none) return false;
    heap_->release(i);
    return true;
  }
  return false;
}

void CachingAllocator::set_capacity(std::int64_t capacity) {
  heap_->device.capacity = capacity;
}

void CachingAllocator::set_settings(const Settings& settings) {
  heap_->device.settings = settings;
}

void CachingAllocator::begin_pool(PoolId pool, std::vector<Stream> streams) {
  heap_->begin_pool(pool, std::move(streams));
}

void CachingAllocator::end_pool(PoolId pool) {
  heap_->end_pool(pool);
}

void CachingAllocator::release_pool(PoolId pool) {
  heap_->release_pool(pool);
}

Statistics CachingAllocator::statistics() const {
  return heap_->statistics();
}

void CachingAllocator::reset_peak_statistics() {
  for (Counters& counters : heap_->counters) counters.peak = counters.current;
  heap_->oversize_allocations.peak = heap_->oversize_allocations.current;
  heap_->oversize_segments.peak = heap_->oversize_segments.current;
}

void CachingAllocator::reset_accumulated_statistics() {
  for (Counters& counters : heap_->counters) {
    counters.base = counters.current;
    counters.allocated.fill(0);
  }
  heap_->oversize_allocations.allocated = heap_->oversize_segments.allocated = 0;
  heap_->retries = heap_->ooms = heap_->syncs = heap_->device_allocs = heap_->device_frees = 0;
}

std::int64_t CachingAllocator::allocated() const {
  return heap_->counters[0].current[sum_allocated];
}
std::int64_t CachingAllocator::reserved() const {
  return heap_->counters[0].current[sum_reserved];
}
std::int64_t CachingAllocator::stuck() const {
  return heap_->counters[0].current[sum_inactive_split];
}
std::int64_t CachingAllocator::peak_allocated() const {
  return heap_->counters[0].peak[sum_allocated];
}
std::int64_t CachingAllocator::peak_reserved() const {
  return heap_->counters[0].peak[sum_reserved];
}

std::optional<Block> CachingAllocator::block(Address address) const {
  const std::uint32_t index = address == 0 ? AddressMap::absent : heap_->find_live(address);
  if (index == AddressMap::absent) return std::nullopt;
  const Node& node = heap_->nodes[index];
  return Block{node.address, node.size, node.requested, BlockState::live};
}

std::vector<Segment> CachingAllocator::segments() const {
  return heap_->segments();
}

void CachingAllocator::restore(std::span<const Segment> segments, std::span<const Reserve> reserves) {
  heap_->restore(segments, reserves);
}

void CachingAllocator::observe(std::function<void(const Event&)> observer) {
  heap_->observer = std::move(observer);
}

std::string_view name(Action action) {
  constexpr std::string_view names[] = {"alloc",        "free_requested", "free_completed", "segment_alloc",
                                        "segment_free", "segment_map",    "segment_unmap",  "oom",
                                        "snapshot"};
  return names[static_cast<std::size_t>(action)];
}

}  // namespace athanor::allocator
