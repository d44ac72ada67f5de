#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

namespace athanor::allocator {

/// The free blocks of one pool and stream, ordered by (size, address). Sizes fall into bins, 32 to each power of two
/// and one for each of the smallest, with a bit each that says whether the bin holds anything; in a bin stands a sorted
/// sequence, kept in chunks. So finding, inserting and erasing touch a few cache lines, and almost never allocate.
/// Sizes and addresses are multiples of 512.
class FreeList {
 public:
  /// A place in the order; any insert or erase invalidates it.
  struct Cursor {
    std::uint32_t bin = 0;
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
  [[nodiscard]] Cursor begin() const { return {next_bin(0), 0, 0}; }
  [[nodiscard]] Cursor end() const { return {bins, 0, 0}; }
  [[nodiscard]] Cursor next(Cursor at) const;
  [[nodiscard]] Cursor previous(Cursor at) const;
  [[nodiscard]] std::uint32_t block(Cursor at) const {
    return static_cast<std::uint32_t>(runs_[at.bin]->chunk(at.chunk).entries[at.slot]);
  }

 private:
  // size / 512 (41 bits) | address / 512 (55 bits) | block (32 bits): their order is the order of the list.
  __extension__ using Entry = unsigned __int128;

  static constexpr std::uint32_t words = 19;
  static constexpr std::uint32_t bins = words * 64;
  static constexpr std::uint32_t capacity = 64;

  struct Chunk {
    std::uint32_t count = 0;
    std::array<Entry, capacity> entries;
  };
  /// What is in one bin. The first chunk stands here; more there are only where many blocks have about one size.
  struct Run {
    Chunk head;
    std::vector<std::unique_ptr<Chunk>> more;
    std::vector<Entry> firsts;  // of `more`

    [[nodiscard]] const Chunk& chunk(std::uint32_t i) const { return i == 0 ? head : *more[i - 1]; }
    [[nodiscard]] Chunk& chunk(std::uint32_t i) { return i == 0 ? head : *more[i - 1]; }
  };
  struct Place {
    std::uint32_t chunk, slot;
  };

  static Entry entry(std::int64_t size, std::uint64_t address, std::uint32_t block) {
    const std::uint64_t pages = address >> 9;
    const std::uint64_t high = static_cast<std::uint64_t>(size) >> 9 << 23 | pages >> 32;
    return Entry{high} << 64 | (pages << 32 | block);
  }
  static std::uint32_t bin_of(std::int64_t size) {
    const std::uint64_t units = static_cast<std::uint64_t>(size) >> 9;
    if (units < 64) return static_cast<std::uint32_t>(units);
    const auto log2 = static_cast<std::uint32_t>(std::bit_width(units)) - 1;
    const auto part = static_cast<std::uint32_t>(units >> (log2 - 5)) & 31;
    const std::uint32_t bin = 64 + (log2 - 6) * 32 + part;
    return bin < bins ? bin : bins - 1;
  }
  [[nodiscard]] bool filled(std::uint32_t bin) const { return (filled_[bin / 64] >> (bin % 64) & 1) != 0; }
  [[nodiscard]] std::uint32_t next_bin(std::uint32_t from) const;
  [[nodiscard]] std::uint32_t previous_bin(std::uint32_t before) const;
  static Place find(const Run& run, Entry wanted);
  static void split(Run& run, std::uint32_t chunk);

  std::vector<std::unique_ptr<Run>> runs_;  // none before the first insert
  std::array<std::uint64_t, words> filled_{};
  std::uint64_t filled_words_ = 0;  // which of them have a bit
};

}  // namespace athanor::allocator
