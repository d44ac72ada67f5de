#pragma once
#include <array>
#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include "allocator/AddressMap.h"
#include "allocator/AddressSpace.h"
#include "allocator/FreeList.h"
#include "athanor/allocator/CachingAllocator.h"

namespace athanor::allocator {

inline constexpr std::uint32_t none = 0xffffffff;
inline constexpr std::int64_t smallest_block = 512;
inline constexpr std::int64_t largest_small = 1 << 20;
inline constexpr std::int64_t small_page = 2 << 20;
/// Larger requests are refused as if the driver had: no device has so much, and sums stay far from overflowing.
inline constexpr std::int64_t largest_request = std::int64_t{1} << 48;

/// A block, free or not, mapped or not, and its neighbours in the segment. One cache line.
struct alignas(64) Node {
  Address address = 0;
  std::int64_t size = 0;
  std::int64_t requested = 0;
  std::int64_t age_base = 0;  // the pool's search count when the block became free
  std::uint32_t previous = none;
  std::uint32_t next = none;
  std::uint32_t stream = 0;    // index into streams
  std::uint32_t range = none;  // the expandable range it lies in
  std::uint32_t events = 0;    // unfinished work on other streams since it was freed
  std::uint16_t pool = 0;
  bool allocated = false;
  bool mapped = true;
  bool used_elsewhere = false;  // record_stream named another stream since it was allocated
  bool awaited = false;         // request_free without complete_free yet

  [[nodiscard]] bool split() const { return previous != none || next != none; }
  [[nodiscard]] bool idle() const { return !allocated && events == 0 && !used_elsewhere && !awaited; }
};

/// The quantities every allocation moves, in the order of the arrays in Counters.
enum Quantity : std::size_t {
  count_allocation,
  count_segment,
  count_active,
  count_inactive_split,
  sum_allocated,
  sum_reserved,
  sum_active,
  sum_inactive_split,
  sum_requested,
  quantities,
};

struct Counters {
  std::array<std::int64_t, quantities> current{}, peak{}, allocated{}, base{};

  void add(Quantity quantity, std::int64_t amount) {
    current[quantity] += amount;
    allocated[quantity] += amount;
    if (current[quantity] > peak[quantity]) peak[quantity] = current[quantity];
  }
  void subtract(Quantity quantity, std::int64_t amount) { current[quantity] -= amount; }
};

/// Free blocks of one kind. Two make the shared pools, two more each private pool.
struct Pool {
  bool small = false;
  std::uint32_t owner = none;  // the private pool
  std::vector<FreeList> free;  // by stream index
  std::set<std::pair<std::pair<Stream, Address>, std::uint32_t>> unmapped;
  std::int64_t searches = 0;  // counted where garbage collection is on
};

struct PrivatePool {
  PoolId id{0, 0};
  std::uint16_t small = 0, large = 0;  // indices into pools
  std::int64_t users = 0;
  std::int64_t segments = 0;
  bool alive = true;
};

/// Reserved virtual addresses that pages are mapped into.
struct Range {
  Address base = 0;
  std::int64_t page = 0;
  std::int64_t length = 0;
  bool alive = true;
};

struct CachingAllocator::Heap {
  explicit Heap(DeviceOptions device);

  // Heap.cpp: what a program asks for.
  std::optional<Address> allocate(std::int64_t size, Stream stream);
  void free(Address address, bool deferred);
  void wait_for_streams(std::uint32_t index);
  void complete_free(Address address);
  void record_stream(Address address, Stream stream);
  void synchronize(Stream stream);
  void process_events();
  void synchronize_all();

  [[nodiscard]] std::uint32_t find_live(Address address) const {
    return live.find(address, [this](std::uint32_t block) { return nodes[block].address; });
  }
  std::uint32_t take_live(Address address) {
    return live.take(address, [this](std::uint32_t block) { return nodes[block].address; });
  }

  // HeapBlocks.cpp: finding, splitting, merging.
  struct Request {
    std::int64_t size = 0;     // rounded
    std::int64_t segment = 0;  // what the driver is asked for, where no free block serves
    std::uint32_t stream = 0;
    std::uint16_t pool = 0;
  };
  std::uint32_t find_free(const Request& request);
  Address hand_out(std::uint32_t found, const Request& request, std::int64_t requested);
  void take_back(std::uint32_t index);
  std::int64_t merge(std::uint32_t into, std::uint32_t other);
  void insert_free(std::uint32_t index);
  void erase_free(std::uint32_t index);
  [[nodiscard]] bool splits(const Node& node, std::int64_t size) const;
  [[nodiscard]] std::int64_t expandable_size(const Node& node) const;
  std::uint32_t new_node();
  void delete_node(std::uint32_t index);
  std::uint32_t stream_index(Stream stream);
  std::uint16_t pool_for(std::int64_t size, Stream stream) const;
  void insert_between(std::uint32_t index, std::uint32_t before, std::uint32_t after);
  [[nodiscard]] std::vector<std::uint32_t> ordered(const Pool& pool) const;

  // HeapDriver.cpp: segments from the driver and back to it.
  std::uint32_t grow(const Request& request, bool retry);
  bool release_oversize(const Request& request);
  void release_all();
  void release_pool_blocks(std::uint16_t pool);
  void release(std::uint32_t index);
  void collect_garbage();
  [[nodiscard]] bool driver_has(std::int64_t bytes) const;
  [[nodiscard]] std::optional<std::int64_t> allowed() const;
  [[nodiscard]] std::int64_t range_length() const;

  // HeapExpandable.cpp: pages mapped into reserved ranges.
  std::uint32_t grow_expandable(const Request& request);
  std::uint32_t find_expandable(const Request& request);
  bool map(std::uint32_t index, std::int64_t size);
  void unmap(std::uint32_t index);
  void release_range(std::uint32_t index);
  std::uint32_t reserve_range(const Request& request);

  // HeapState.cpp: the whole state in and out.
  void restore(std::span<const Segment> segments, std::span<const Reserve> reserves);
  void restore_blocks(const Segment& segment, std::uint16_t pool, std::uint32_t range, std::uint32_t& previous);
  void restore_range(const Reserve& reserve, std::span<const Segment* const> mapped);
  std::uint16_t restored_pool(PoolId id, bool large);
  [[nodiscard]] std::vector<Segment> segments() const;
  [[nodiscard]] Statistics statistics() const;
  void begin_pool(PoolId id, std::vector<Stream> on);
  void end_pool(PoolId id);
  void release_pool(PoolId id);
  std::uint32_t private_pool(PoolId id);

  void report(Action action, Address address, std::int64_t size, std::uint32_t stream, std::uint16_t pool) {
    if (observer) observe(action, address, size, stream, pool);
  }
  void observe(Action action, Address address, std::int64_t size, std::uint32_t stream, std::uint16_t pool) const;
  void add(const Pool& pool, Quantity quantity, std::int64_t amount) {
    counters[0].add(quantity, amount);
    counters[pool.small ? 1 : 2].add(quantity, amount);
  }
  void subtract(const Pool& pool, Quantity quantity, std::int64_t amount) {
    counters[0].subtract(quantity, amount);
    counters[pool.small ? 1 : 2].subtract(quantity, amount);
  }

  DeviceOptions device;
  std::vector<Node> nodes;
  std::vector<std::uint32_t> spare_nodes;
  std::vector<Pool> pools;  // 0: shared small, 1: shared large
  std::vector<Stream> streams;
  std::unordered_map<Stream, std::uint32_t> stream_indices;
  AddressMap live;
  AddressSpace space;
  std::vector<Range> ranges;

  std::map<PoolId, std::uint32_t> private_ids;
  std::vector<PrivatePool> privates;
  struct Capture {
    PoolId id;
    std::uint32_t pool;
    std::vector<Stream> streams;
  };
  std::vector<Capture> captures;

  struct StreamEvents {
    std::uint32_t stream = 0;
    std::deque<std::uint32_t> blocks;
    std::size_t finished = 0;  // how many at the front have
  };
  std::vector<StreamEvents> events;
  std::unordered_map<std::uint32_t, std::set<Stream>> uses;  // node → streams named by record_stream
  std::unordered_map<Address, std::uint32_t> awaiting;       // request_free without complete_free
  std::vector<std::uint32_t> deferred;                       // freed during a capture

  std::int64_t total = 0;  // bytes held from the driver
  std::array<Counters, 3> counters;
  Stat oversize_allocations, oversize_segments;
  std::int64_t retries = 0, ooms = 0, syncs = 0, device_allocs = 0, device_frees = 0;
  std::function<void(const Event&)> observer;
};

}  // namespace athanor::allocator
