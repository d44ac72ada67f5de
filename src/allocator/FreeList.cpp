#include "allocator/FreeList.h"

#include <algorithm>
#include <cstring>

namespace athanor::allocator {
namespace {

/// How many of the n sorted words are below `word`; without branches the processor could guess wrong.
std::uint32_t count_below(const std::uint64_t* words, std::uint32_t n, std::uint64_t word) {
  const std::uint64_t* base = words;
  while (n > 1) {
    const std::uint32_t half = n / 2;
    base += static_cast<std::uint32_t>(base[half - 1] < word) * half;
    n -= half;
  }
  return static_cast<std::uint32_t>(base - words) + static_cast<std::uint32_t>(n == 1 && *base < word);
}

/// The same for pairs: upper words first, then the lower ones among equals.
std::uint32_t count_below(const std::uint64_t* high, const std::uint64_t* low, std::uint32_t n, std::uint64_t key_high,
                          std::uint64_t key_low) {
  const std::uint32_t begin = count_below(high, n, key_high);
  if (begin == n || high[begin] != key_high) return begin;
  std::uint32_t end = begin;
  while (end < n && high[end] == key_high) {
    if (end - begin < 4) {
      if (low[end] >= key_low) return end;
      ++end;
      continue;
    }
    // Many blocks of one size: search them too.
    const std::uint32_t after = count_below(high, n, key_high + 1);
    return end + count_below(low + end, after - end, key_low);
  }
  return end;
}

}  // namespace

FreeList::Cursor FreeList::find(Key key) const {
  if (chunks_.empty()) return end();
  // The last chunk whose first key is not above the key, or the first one.
  const auto below = count_below(first_high_.data(), first_low_.data(), static_cast<std::uint32_t>(first_high_.size()),
                                 key.high, key.low);
  const std::uint32_t at = below == 0 ? 0 : below - 1;
  const Chunk& chunk = *chunks_[at];
  return {at, count_below(chunk.high.data(), chunk.low.data(), chunk.count, key.high, key.low)};
}

FreeList::Cursor FreeList::lower_bound(std::int64_t size) const {
  Cursor at = find(key(size, 0, 0));
  if (at.chunk < chunks_.size() && at.slot == chunks_[at.chunk]->count) at = {at.chunk + 1, 0};
  return at;
}

FreeList::Cursor FreeList::next(Cursor at) const {
  return at.slot + 1 < chunks_[at.chunk]->count ? Cursor{at.chunk, at.slot + 1} : Cursor{at.chunk + 1, 0};
}

FreeList::Cursor FreeList::previous(Cursor at) const {
  return at.slot > 0 ? Cursor{at.chunk, at.slot - 1} : Cursor{at.chunk - 1, chunks_[at.chunk - 1]->count - 1};
}

void FreeList::split(std::uint32_t chunk) {
  std::unique_ptr<Chunk> upper;
  if (spare_.empty()) {
    upper = std::make_unique<Chunk>();
  } else {
    upper = std::move(spare_.back());
    spare_.pop_back();
  }
  Chunk& lower = *chunks_[chunk];
  upper->count = lower.count / 2;
  lower.count -= upper->count;
  std::copy_n(lower.high.begin() + lower.count, upper->count, upper->high.begin());
  std::copy_n(lower.low.begin() + lower.count, upper->count, upper->low.begin());
  first_high_.insert(first_high_.begin() + chunk + 1, upper->high[0]);
  first_low_.insert(first_low_.begin() + chunk + 1, upper->low[0]);
  chunks_.insert(chunks_.begin() + chunk + 1, std::move(upper));
}

void FreeList::insert(std::int64_t size, std::uint64_t address, std::uint32_t block) {
  const Key entry = key(size, address, block);
  if (chunks_.empty()) {
    chunks_.push_back(std::make_unique<Chunk>());
    first_high_.push_back(entry.high);
    first_low_.push_back(entry.low);
  }
  Cursor at = find(entry);
  if (chunks_[at.chunk]->count == capacity) {
    split(at.chunk);
    at = find(entry);
  }
  Chunk& chunk = *chunks_[at.chunk];
  const std::size_t behind = (chunk.count - at.slot) * sizeof(std::uint64_t);
  std::memmove(chunk.high.data() + at.slot + 1, chunk.high.data() + at.slot, behind);
  std::memmove(chunk.low.data() + at.slot + 1, chunk.low.data() + at.slot, behind);
  chunk.high[at.slot] = entry.high;
  chunk.low[at.slot] = entry.low;
  ++chunk.count;
  first_high_[at.chunk] = chunk.high[0];
  first_low_[at.chunk] = chunk.low[0];
  ++size_;
}

void FreeList::erase(std::int64_t size, std::uint64_t address) {
  Cursor at = find(key(size, address, 0));
  if (at.slot == chunks_[at.chunk]->count) at = {at.chunk + 1, 0};
  erase(at);
}

void FreeList::erase(Cursor at) {
  Chunk& chunk = *chunks_[at.chunk];
  --chunk.count;
  --size_;
  const std::size_t behind = (chunk.count - at.slot) * sizeof(std::uint64_t);
  std::memmove(chunk.high.data() + at.slot, chunk.high.data() + at.slot + 1, behind);
  std::memmove(chunk.low.data() + at.slot, chunk.low.data() + at.slot + 1, behind);
  if (chunk.count == 0) {
    if (spare_.size() < 4) spare_.push_back(std::move(chunks_[at.chunk]));
    chunks_.erase(chunks_.begin() + at.chunk);
    first_high_.erase(first_high_.begin() + at.chunk);
    first_low_.erase(first_low_.begin() + at.chunk);
  } else if (at.slot == 0) {
    first_high_[at.chunk] = chunk.high[0];
    first_low_[at.chunk] = chunk.low[0];
  }
}

}  // namespace athanor::allocator
