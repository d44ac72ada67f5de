#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace athanor::allocator {

/// The free blocks of one pool and stream, ordered by (size, address): a sorted sequence kept in chunks, so that
/// finding, inserting and erasing touch a few cache lines and almost never allocate. Sizes and addresses are multiples
/// of 512.
class FreeList {
 public:
  /// A place in the order; any insert or erase invalidates it.
  struct Cursor {
    std::uint32_t chunk = 0;
    std::uint32_t slot = 0;

    bool operator==(const Cursor&) const = default;
  };

  void insert(std::int64_t size, std::uint64_t address, std::uint32_t block);
  /// The entry must be there.
  void erase(std::int64_t size, std::uint64_t address);
  void erase(Cursor at);

  /// The first entry of at least this size (the lowest address among equals); end() if there is none.
  [[nodiscard]] Cursor lower_bound(std::int64_t size) const;
  [[nodiscard]] Cursor begin() const { return {}; }
  [[nodiscard]] Cursor end() const { return {static_cast<std::uint32_t>(chunks_.size()), 0}; }
  [[nodiscard]] Cursor next(Cursor at) const;
  [[nodiscard]] Cursor previous(Cursor at) const;
  [[nodiscard]] std::uint32_t block(Cursor at) const {
    return static_cast<std::uint32_t>(chunks_[at.chunk]->low[at.slot]);
  }
  [[nodiscard]] bool empty() const { return chunks_.empty(); }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  // size / 512 (41 bits) | address / 512 (55 bits) | block (32 bits), as two words: their order is the order of the
  // list. Almost every comparison is settled by the upper one, so it is searched alone, without branches.
  struct Key {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
  };
  static constexpr std::uint32_t capacity = 64;
  struct Chunk {
    std::uint32_t count = 0;
    std::array<std::uint64_t, capacity> high;
    std::array<std::uint64_t, capacity> low;
  };

  static Key key(std::int64_t size, std::uint64_t address, std::uint32_t block) {
    const std::uint64_t pages = address >> 9;
    return {static_cast<std::uint64_t>(size) >> 9 << 23 | pages >> 32, pages << 32 | block};
  }
  [[nodiscard]] Cursor find(Key key) const;
  void split(std::uint32_t chunk);

  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::vector<std::uint64_t> first_high_, first_low_;  // of each chunk: searched first
  std::vector<std::unique_ptr<Chunk>> spare_;
  std::size_t size_ = 0;
};

}  // namespace athanor::allocator
