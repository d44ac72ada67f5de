#pragma once
#include <cstdint>
#include <map>

#include "athanor/allocator/CachingAllocator.h"

namespace athanor::allocator {

/// The driver's virtual addresses: which are taken, and where the next segment goes.
class AddressSpace {
 public:
  /// Takes a place, aligned to 2 MiB. AddressOrder::driver: addresses come from the system in regions of whole 32 MiB,
  /// each in the highest gap that fits; what a region has left serves later segments, the lowest such place first, and
  /// an empty region goes back. Seen in recordings: docs/validation.md.
  std::uint64_t take(std::int64_t size, AddressOrder order);

  /// Takes a place that was given; false if it overlaps one that is taken.
  [[nodiscard]] bool take_at(std::uint64_t address, std::int64_t size);

  /// How many bytes from `address` on are free.
  [[nodiscard]] std::int64_t room(std::uint64_t address) const;

  /// `size` as it was taken.
  void give_back(std::uint64_t address, std::int64_t size);

 private:
  // Where CUDA's own addresses lie on Linux; any range would do.
  static constexpr std::uint64_t lowest = 0x700000000000;
  static constexpr std::uint64_t highest = 0x7f0000000000;

  [[nodiscard]] std::uint64_t lowest_gap(std::uint64_t length) const;
  [[nodiscard]] std::uint64_t highest_gap(std::uint64_t length) const;  ///< aligned as the length is

  std::map<std::uint64_t, std::uint64_t> regions_;  ///< begin → end of what is taken from the system
  std::map<std::uint64_t, std::uint64_t> left_;     ///< likewise, of the free parts of regions
};

}  // namespace athanor::allocator
