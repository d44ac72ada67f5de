#pragma once
#include <cstdint>
#include <map>

namespace athanor::allocator {

/// The driver's virtual addresses: which are taken, and where the next segment goes.
class AddressSpace {
 public:
  /// Takes the lowest (rising) or highest gap that fits, aligned to 2 MiB.
  std::uint64_t take(std::int64_t size, bool rising);

  /// Takes a place that was given; false if it overlaps one that is taken.
  [[nodiscard]] bool take_at(std::uint64_t address, std::int64_t size);

  /// How many bytes from `address` on are free.
  [[nodiscard]] std::int64_t room(std::uint64_t address) const;

  void give_back(std::uint64_t address);

 private:
  // Where CUDA's own addresses lie on Linux; any range would do.
  static constexpr std::uint64_t lowest = 0x700000000000;
  static constexpr std::uint64_t highest = 0x7f0000000000;

  std::map<std::uint64_t, std::uint64_t> taken_;  // begin → end
};

}  // namespace athanor::allocator
