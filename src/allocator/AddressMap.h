#pragma once
#include <cstdint>
#include <vector>

namespace athanor::allocator {

/// Address → block, for the blocks that are handed out: open addressing with linear probing, at most half full, so that
/// a lookup is one or two cache lines. Address 0 is never a key.
class AddressMap {
 public:
  static constexpr std::uint32_t absent = 0xffffffff;

  void insert(std::uint64_t address, std::uint32_t block) {
    if ((count_ + 1) * 2 > slots_.size()) grow();
    std::size_t at = home(address);
    while (slots_[at].address != 0) at = (at + 1) & mask();
    slots_[at] = {address, block};
    ++count_;
  }

  [[nodiscard]] std::uint32_t find(std::uint64_t address) const {
    for (std::size_t at = home(address); slots_[at].address != 0; at = (at + 1) & mask())
      if (slots_[at].address == address) return slots_[at].block;
    return absent;
  }

  /// Takes the address out; absent if it was not there.
  std::uint32_t take(std::uint64_t address) {
    std::size_t at = home(address);
    while (slots_[at].address != address) {
      if (slots_[at].address == 0) return absent;
      at = (at + 1) & mask();
    }
    const std::uint32_t block = slots_[at].block;
    // Those behind move up, so that no probe sequence has a hole.
    std::size_t hole = at;
    for (std::size_t next = (at + 1) & mask(); slots_[next].address != 0; next = (next + 1) & mask()) {
      if (((next - home(slots_[next].address)) & mask()) >= ((next - hole) & mask())) {
        slots_[hole] = slots_[next];
        hole = next;
      }
    }
    slots_[hole] = {};
    --count_;
    return block;
  }

  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  struct Slot {
    std::uint64_t address = 0;
    std::uint32_t block = 0;
  };

  [[nodiscard]] std::size_t mask() const { return slots_.size() - 1; }
  [[nodiscard]] std::size_t home(std::uint64_t address) const {
    return static_cast<std::size_t>(((address >> 9) * 0x9e3779b97f4a7c15ULL) >> shift_);
  }
  void grow() {
    const std::vector<Slot> old = std::move(slots_);
    slots_.assign(old.size() * 2, {});
    --shift_;
    for (const Slot& slot : old) {
      if (slot.address == 0) continue;
      std::size_t at = home(slot.address);
      while (slots_[at].address != 0) at = (at + 1) & mask();
      slots_[at] = slot;
    }
  }

  std::vector<Slot> slots_ = std::vector<Slot>(1024);
  unsigned shift_ = 54;  // 64 − log2(slots)
  std::size_t count_ = 0;
};

}  // namespace athanor::allocator
