#pragma once
#include <cstdint>
#include <vector>

namespace athanor::allocator {

/// Address → block, for the blocks that are handed out: open addressing with linear probing, at most half full, so that
/// a lookup is one or two cache lines.
class AddressMap {
 public:
  static constexpr std::uint32_t absent = 0xffffffff;

  void insert(std::uint64_t address, std::uint32_t block) {
    if ((count_ + 1) * 2 > slots_.size()) grow();
    place({block, hash(address)});
    ++count_;
  }

  /// `address_of(block)` is the address of a block; a slot keeps 32 bits of its hash, to be small.
  template <class AddressOf>
  [[nodiscard]] std::uint32_t find(std::uint64_t address, const AddressOf& address_of) const {
    const std::size_t at = locate(address, address_of);
    return slots_[at].block;
  }

  /// Takes the address out; absent if it was not there.
  template <class AddressOf>
  std::uint32_t take(std::uint64_t address, const AddressOf& address_of) {
    const std::size_t at = locate(address, address_of);
    const std::uint32_t block = slots_[at].block;
    if (block == absent) return absent;
    // Those behind move up, so that no probe sequence has a hole.
    std::size_t hole = at;
    for (std::size_t next = (at + 1) & mask(); slots_[next].block != absent; next = (next + 1) & mask()) {
      if (((next - home(slots_[next].hash)) & mask()) >= ((next - hole) & mask())) {
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
    std::uint32_t block = absent;
    std::uint32_t hash = 0;
  };

  static std::uint32_t hash(std::uint64_t address) {
    return static_cast<std::uint32_t>(((address >> 9) * 0x9e3779b97f4a7c15ULL) >> 32);
  }
  [[nodiscard]] std::size_t mask() const { return slots_.size() - 1; }
  [[nodiscard]] std::size_t home(std::uint32_t hash) const { return hash >> shift_; }

  /// Its slot, or the empty one where the search for it ends.
  template <class AddressOf>
  [[nodiscard]] std::size_t locate(std::uint64_t address, const AddressOf& address_of) const {
    const std::uint32_t wanted = hash(address);
    std::size_t at = home(wanted);
    while (slots_[at].block != absent && (slots_[at].hash != wanted || address_of(slots_[at].block) != address))
      at = (at + 1) & mask();
    return at;
  }
  void place(Slot slot) {
    std::size_t at = home(slot.hash);
    while (slots_[at].block != absent) at = (at + 1) & mask();
    slots_[at] = slot;
  }
  void grow() {
    const std::vector<Slot> old = std::move(slots_);
    slots_.assign(old.size() * 2, {});
    --shift_;
    for (const Slot& slot : old)
      if (slot.block != absent) place(slot);
  }

  std::vector<Slot> slots_ = std::vector<Slot>(1024);
  unsigned shift_ = 22;  // 32 − log2(slots): a hash's upper bits are its place
  std::size_t count_ = 0;
};

}  // namespace athanor::allocator
