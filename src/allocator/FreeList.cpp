#include "allocator/FreeList.h"

#include <algorithm>
#include <cstring>

namespace athanor::allocator {
namespace {

/// How many of the n sorted keys are below `key`; without branches the processor could guess wrong.
template <class Key>
std::uint32_t count_below(const Key* keys, std::uint32_t n, Key key) {
  const Key* base = keys;
  while (n > 1) {
    const std::uint32_t half = n / 2;
    base += (base[half - 1] < key) ? half : 0;
    n -= half;
  }
  return static_cast<std::uint32_t>(base - keys) + ((n == 1 && *base < key) ? 1U : 0U);
}

}  // namespace

FreeList::Cursor FreeList::find(Key key) const {
  if (chunks_.empty()) return end();
  // The last chunk whose first key is not above the key, or the first one.
  const auto below = count_below(first_.data(), static_cast<std::uint32_t>(first_.size()), key);
  std::uint32_t chunk = below == 0 ? 0 : below - 1;
  const std::uint32_t slot = count_below(chunks_[chunk]->keys.data(), chunks_[chunk]->count, key);
  return {chunk, slot};
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
  std::copy_n(lower.keys.begin() + lower.count, upper->count, upper->keys.begin());
  first_.insert(first_.begin() + chunk + 1, upper->keys[0]);
  chunks_.insert(chunks_.begin() + chunk + 1, std::move(upper));
}

void FreeList::insert(std::int64_t size, std::uint64_t address, std::uint32_t block) {
  const Key entry = key(size, address, block);
  if (chunks_.empty()) {
    chunks_.push_back(std::make_unique<Chunk>());
    first_.push_back(entry);
  }
  Cursor at = find(entry);
  if (chunks_[at.chunk]->count == capacity) {
    split(at.chunk);
    at = find(entry);
  }
  Chunk& chunk = *chunks_[at.chunk];
  std::memmove(&chunk.keys[at.slot] + 1, &chunk.keys[at.slot], (chunk.count - at.slot) * sizeof(Key));
  chunk.keys[at.slot] = entry;
  ++chunk.count;
  first_[at.chunk] = chunk.keys[0];
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
  std::memmove(&chunk.keys[at.slot], &chunk.keys[at.slot] + 1, (chunk.count - at.slot) * sizeof(Key));
  if (chunk.count == 0) {
    if (spare_.size() < 4) spare_.push_back(std::move(chunks_[at.chunk]));
    chunks_.erase(chunks_.begin() + at.chunk);
    first_.erase(first_.begin() + at.chunk);
  } else if (at.slot == 0) {
    first_[at.chunk] = chunk.keys[0];
  }
}

}  // namespace athanor::allocator
