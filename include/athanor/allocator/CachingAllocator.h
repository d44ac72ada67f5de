#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "athanor/allocator/Segment.h"
#include "athanor/allocator/Settings.h"
#include "athanor/allocator/Statistics.h"

namespace athanor::allocator {

/// Where the driver puts new segments. PyTorch's best fit breaks ties by address, so the order can matter.
enum class AddressOrder : std::uint8_t {
  driver,  ///< As CUDA's driver does on Linux: regions of whole 32 MiB at falling addresses; what one has left is used.
  rising,  ///< The lowest gap that fits: what was recorded in WSL.
  falling,  ///< The highest gap that fits.
};

/// Where a segment begins, and how much of a range can be reserved from there.
struct Place {
  Address address = 0;
  std::int64_t room = unlimited;
};

struct DeviceOptions {
  Settings settings{};
  Version version{};
  std::int64_t capacity = unlimited;  ///< What the driver can hand out: the device less context and other processes.
  std::int64_t total_memory = unlimited;  ///< The device's memory, which memory_fraction is of; unlimited: capacity.
  AddressOrder order = AddressOrder::driver;
  /// Overrides `order`: where a new segment of `size` bytes (or reserved virtual range, `expandable`) goes: a multiple
  /// of 512, overlapping nothing in use.
  std::function<Place(std::int64_t size, bool expandable)> place{};
};

/// An exact model of PyTorch's CUDA caching allocator for one device: no GPU, no memory, the same decisions.
/// Drive it with what a program does to the real one; it says what the real one would have answered. Not
/// thread-safe. What a call costs: bench/allocator.cpp.
/// Source: c10/cuda/CUDACachingAllocator.cpp of PyTorch 2.6 to 2.15.
class CachingAllocator {
 public:
  explicit CachingAllocator(DeviceOptions options = {});
  ~CachingAllocator();
  CachingAllocator(CachingAllocator&&) noexcept;
  CachingAllocator& operator=(CachingAllocator&&) noexcept;

  /// The address handed out for `size` bytes, or nullopt where PyTorch would raise OutOfMemoryError (the model stays
  /// usable, as PyTorch's does). Size 0 gives address 0 and changes nothing. Throws std::invalid_argument if size < 0.
  [[nodiscard]] std::optional<Address> allocate(std::int64_t size, Stream stream = 0);

  /// Gives a block back. Address 0 is nothing. If other streams used it, it waits for them (see `synchronize`).
  /// Throws std::invalid_argument if the address is not one handed out.
  void free(Address address);

  /// Tensor.record_stream: `stream` uses the block, so that its free waits for what is queued on that stream then.
  void record_stream(Address address, Stream stream);

  /// Everything queued on `stream` so far has finished; blocks that waited for it are taken back at the next
  /// allocation.
  void synchronize(Stream stream);

  /// `free` in two halves, for replaying a trace that recorded both: asked for, and taken back later (at the latest
  /// when the model waits for all streams: empty_cache, or a full device).
  void request_free(Address address);
  void complete_free(Address address);
  [[nodiscard]] bool waits(Address address) const;  ///< for complete_free

  /// torch.cuda.empty_cache: waits for all streams and gives unsplit free segments (or free pages) back to the driver.
  void empty_cache();

  /// Gives one segment back, which must be a single free block; for replaying a release whose cause is not known. False
  /// if there is no such segment.
  bool release_segment(Address address);

  /// What the driver can hand out from now on: memory taken or given back by others on the device.
  void set_capacity(std::int64_t capacity);

  /// torch.cuda._set_allocator_settings: for requests from now on; what is there stays as it is.
  void set_settings(const Settings& settings);

  /// Private pools (CUDA graphs, MemPool): between begin and end, allocations on `streams` (empty: any) come from
  /// `pool`. Each begin counts one user; release_pool takes one away, and without users its memory can go back to the
  /// driver.
  void begin_pool(PoolId pool, std::vector<Stream> streams = {});
  void end_pool(PoolId pool);
  void release_pool(PoolId pool);

  [[nodiscard]] Statistics statistics() const;
  void reset_peak_statistics();
  void reset_accumulated_statistics();
  [[nodiscard]] std::int64_t allocated() const;
  [[nodiscard]] std::int64_t reserved() const;
  [[nodiscard]] std::int64_t stuck() const;  ///< inactive_split_bytes: free, but in segments that are partly in use
  [[nodiscard]] std::int64_t peak_allocated() const;
  [[nodiscard]] std::int64_t peak_reserved() const;

  /// The block behind an address that was handed out; nullopt otherwise.
  [[nodiscard]] std::optional<Block> block(Address address) const;

  /// Every mapped segment with its blocks, by address, as torch.cuda.memory_snapshot lists them.
  [[nodiscard]] std::vector<Segment> segments() const;

  /// Starts from a state instead of from an empty device; only before the first allocation. Throws
  /// std::invalid_argument if blocks do not tile their segment, segments overlap, or something is not a multiple of 512
  /// bytes. `reserves` says where expandable segments have their addresses; one that is not named begins at its lowest
  /// segment.
  void restore(std::span<const Segment> segments, std::span<const Reserve> reserves = {});

  /// Called on every event as PyTorch's trace would record it, just after the model changed. Must not call the model.
  void observe(std::function<void(const Event&)> observer);

 private:
  struct Heap;
  std::unique_ptr<Heap> heap_;
};

}  // namespace athanor::allocator
