#include "allocator/FreeList.h"

#include <algorithm>
#include <cstring>

namespace athanor::allocator {
namespace {

/// How many of the n sorted entries are below `wanted`; without branches the processor could guess wrong.
template <class Entry>
std::uint32_t count_below(const Entry* entries, std::uint32_t n, Entry wanted) {
  const Entry* base = entries;
  while (n > 1) {
    const std::uint32_t half = n / 2;
    base += static_cast<std::uint32_t>(base[half - 1] < wanted) * half;
    n -= half;
  }
  return static_cast<std::uint32_t>(base - entries) + static_cast<std::uint32_t>(n == 1 && *base < wanted);
}

}  // namespace

std::uint32_t FreeList::next_bin(std::uint32_t from) const {
  const std::uint32_t word = from / 64;
  if (word >= words) return bins;
  const std::uint64_t here = filled_[word] >> (from % 64);
  if (here != 0) return from + static_cast<std::uint32_t>(std::countr_zero(here));
  const std::uint64_t above = filled_words_ >> word >> 1;
  if (above == 0) return bins;
  const std::uint32_t next = word + 1 + static_cast<std::uint32_t>(std::countr_zero(above));
  return next * 64 + static_cast<std::uint32_t>(std::countr_zero(filled_[next]));
}

std::uint32_t FreeList::previous_bin(std::uint32_t before) const {
  while (!filled(--before)) {
  }
  return before;
}

// The last chunk that begins at or before what is wanted, or the first one.
FreeList::Place FreeList::find(const Run& run, Entry wanted) {
  std::uint32_t at = 0;
  if (!run.firsts.empty()) {
    at = count_below(run.firsts.data(), static_cast<std::uint32_t>(run.firsts.size()), wanted);
    if (at < run.firsts.size() && run.firsts[at] == wanted) ++at;
  }
  const Chunk& chunk = run.chunk(at);
  return {at, count_below(chunk.entries.data(), chunk.count, wanted)};
}

FreeList::Cursor FreeList::lower_bound(std::int64_t size) const {
  const std::uint32_t bin = bin_of(size);
  if (filled(bin)) {
    if (bin < 64) return {bin, 0, 0};  // one size only
    const Run& run = *runs_[bin];
    const Place at = find(run, entry(size, 0, 0));
    if (at.slot < run.chunk(at.chunk).count) return {bin, at.chunk, at.slot};
    if (at.chunk < run.more.size()) return {bin, at.chunk + 1, 0};
  }
  return {next_bin(bin + 1), 0, 0};
}

FreeList::Cursor FreeList::next(Cursor at) const {
  const Run& run = *runs_[at.bin];
  if (at.slot + 1 < run.chunk(at.chunk).count) return {at.bin, at.chunk, at.slot + 1};
  if (at.chunk < run.more.size()) return {at.bin, at.chunk + 1, 0};
  return {next_bin(at.bin + 1), 0, 0};
}

FreeList::Cursor FreeList::previous(Cursor at) const {
  if (at.slot > 0) return {at.bin, at.chunk, at.slot - 1};
  if (at.chunk > 0) return {at.bin, at.chunk - 1, runs_[at.bin]->chunk(at.chunk - 1).count - 1};
  const std::uint32_t bin = previous_bin(at.bin);
  const auto last = static_cast<std::uint32_t>(runs_[bin]->more.size());
  return {bin, last, runs_[bin]->chunk(last).count - 1};
}

void FreeList::split(Run& run, std::uint32_t chunk) {
  auto upper = std::make_unique_for_overwrite<Chunk>();
  Chunk& lower = run.chunk(chunk);
  upper->count = lower.count / 2;
  lower.count -= upper->count;
  std::copy_n(lower.entries.begin() + lower.count, upper->count, upper->entries.begin());
  run.firsts.insert(run.firsts.begin() + chunk, upper->entries[0]);
  run.more.insert(run.more.begin() + chunk, std::move(upper));
}

void FreeList::insert(std::int64_t size, std::uint64_t address, std::uint32_t block) {
  if (runs_.empty()) runs_.resize(bins);
  const std::uint32_t bin = bin_of(size);
  if (!runs_[bin]) runs_[bin] = std::make_unique_for_overwrite<Run>();
  filled_[bin / 64] |= std::uint64_t{1} << (bin % 64);
  filled_words_ |= std::uint64_t{1} << (bin / 64);
  Run& run = *runs_[bin];
  const Entry wanted = entry(size, address, block);
  Place at = find(run, wanted);
  if (run.chunk(at.chunk).count == capacity) {
    split(run, at.chunk);
    at = find(run, wanted);
  }
  Chunk& chunk = run.chunk(at.chunk);
  std::memmove(chunk.entries.data() + at.slot + 1, chunk.entries.data() + at.slot,
               (chunk.count - at.slot) * sizeof(Entry));
  chunk.entries[at.slot] = wanted;
  ++chunk.count;
}

void FreeList::erase(std::int64_t size, std::uint64_t address) {
  const std::uint32_t bin = bin_of(size);
  const Run& run = *runs_[bin];
  Place at = find(run, entry(size, address, 0));
  if (at.slot == run.chunk(at.chunk).count) at = {at.chunk + 1, 0};
  erase(Cursor{bin, at.chunk, at.slot});
}

void FreeList::erase(Cursor at) {
  Run& run = *runs_[at.bin];
  Chunk& chunk = run.chunk(at.chunk);
  --chunk.count;
  std::memmove(chunk.entries.data() + at.slot, chunk.entries.data() + at.slot + 1,
               (chunk.count - at.slot) * sizeof(Entry));
  if (chunk.count > 0) {
    if (at.slot == 0 && at.chunk > 0) run.firsts[at.chunk - 1] = chunk.entries[0];
  } else if (at.chunk > 0) {
    run.more.erase(run.more.begin() + (at.chunk - 1));
    run.firsts.erase(run.firsts.begin() + (at.chunk - 1));
  } else if (!run.more.empty()) {
    run.head = *run.more.front();
    run.more.erase(run.more.begin());
    run.firsts.erase(run.firsts.begin());
  } else {
    filled_[at.bin / 64] &= ~(std::uint64_t{1} << (at.bin % 64));
    if (filled_[at.bin / 64] == 0) filled_words_ &= ~(std::uint64_t{1} << (at.bin / 64));
  }
}

}  // namespace athanor::allocator
