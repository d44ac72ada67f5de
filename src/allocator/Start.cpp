#include "allocator/Start.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

namespace athanor::allocator {
namespace {

constexpr std::int64_t mib = 1 << 20;
constexpr std::int64_t small_segment = 2 * mib;

/// A block that was there before the trace begins.
struct Older {
  std::int64_t requested = 0;
  std::int64_t size = 0;  // 0: not recorded
  std::size_t freed = 0;  // the step that frees it; past the end if none does
  bool pending = false;   // its free was already asked for
};

bool within(const Segment& segment, Address address) {
  return address >= segment.address && address - segment.address < static_cast<Address>(segment.size);
}

/// The blocks that must have been there at the start: freed without having been allocated, or alive at the end
/// likewise.
std::map<Address, Older> older_blocks(History& history) {
  enum Seen : std::uint8_t { idle = 1, live = 2, pending = 4 };  // since the trace began
  std::map<Address, Older> older;
  std::unordered_map<Address, std::uint8_t> seen;
  for (std::size_t i = 0; i < history.steps.size(); ++i) {
    const Step& step = history.steps[i];
    if (step.kind > Step::complete_free) continue;
    const auto [entry, is_first] = seen.try_emplace(step.address, idle);
    std::uint8_t& state = entry->second;
    if (step.kind == Step::alloc) {
      state = live;
    } else if (step.kind == Step::complete_free) {
      if (is_first) older[step.address] = {step.size, 0, i, true};
      state = idle;
    } else {
      if (is_first) older[step.address] = {step.size, 0, i, false};
      state = step.kind == Step::request_free ? pending : idle;
    }
  }
  for (const Segment& segment : history.finish)
    for (const Block& block : segment.blocks)
      if (block.state != BlockState::free && !seen.contains(block.address))
        older[block.address] = {block.requested, block.size, history.steps.size(), block.state == BlockState::pending};
  return older;
}

/// The segments (or pages) that were there at the start: those at the end, less what came, plus what went.
std::vector<Segment> older_segments(const History& history) {
  std::map<Address, Segment> held;
  for (const Segment& segment : history.finish) {
    Segment bare = segment;
    bare.blocks.clear();
    held[segment.address] = bare;
  }
  for (auto step = history.steps.rbegin(); step != history.steps.rend(); ++step) {
    if (step->kind == Step::segment_alloc) {
      held.erase(step->address);
    } else if (step->kind == Step::segment_free) {
      Segment segment;
      segment.address = step->address;
      segment.size = step->size;
      segment.stream = step->stream;
      segment.large = step->size != small_segment;
      held[step->address] = segment;
    } else if (step->kind == Step::segment_map) {
      // Cut the pages out of the mapped piece they lie in.
      auto it = held.upper_bound(step->address);
      if (it == held.begin() || !within(std::prev(it)->second, step->address)) continue;
      const Segment whole = std::prev(it)->second;
      held.erase(std::prev(it));
      Segment before = whole, after = whole;
      before.size = static_cast<std::int64_t>(step->address - whole.address);
      after.address = step->address + static_cast<Address>(step->size);
      after.size = whole.size - before.size - step->size;
      if (before.size > 0) held[before.address] = before;
      if (after.size > 0) held[after.address] = after;
    } else if (step->kind == Step::segment_unmap) {
      Segment pages;
      pages.address = step->address;
      pages.size = step->size;
      pages.stream = step->stream;
      pages.expandable = true;
      // Large or small as what is mapped nearest to it in its range.
      const auto next = held.lower_bound(step->address);
      const bool has_before = next != held.begin();
      pages.large = step->size % (20 * mib) == 0;
      if (has_before && std::prev(next)->second.expandable &&
          std::prev(next)->first + static_cast<Address>(std::prev(next)->second.size) == step->address)
        pages.large = std::prev(next)->second.large;
      held[step->address] = pages;
    }
  }
  // Pages side by side are one segment.
  std::vector<Segment> out;
  for (auto& [address, segment] : held) {
    if (!out.empty() && out.back().expandable && segment.expandable && out.back().stream == segment.stream &&
        out.back().large == segment.large && out.back().pool == segment.pool &&
        out.back().address + static_cast<Address>(out.back().size) == address)
      out.back().size += segment.size;
    else
      out.push_back(segment);
  }
  return out;
}

/// The first allocation that lands in the 1 MiB behind a block, while the block is there, shows where the block ends.
std::int64_t end_shown_by_trace(const std::vector<std::pair<Address, std::uint32_t>>& allocs, Address from,
                                std::size_t until) {
  std::uint32_t earliest = 0xffffffff;
  std::int64_t slack = -1;
  const Address last = from + static_cast<Address>(mib);
  for (auto at = std::ranges::lower_bound(allocs, std::pair{from, std::uint32_t{0}});
       at != allocs.end() && at->first <= last; ++at) {
    if (at->second >= until || at->second >= earliest) continue;
    earliest = at->second;
    slack = static_cast<std::int64_t>(at->first - from);
  }
  return slack;
}

void lay_out(History& history, Segment& segment, std::map<Address, Older>& older,
             const std::vector<std::pair<Address, std::uint32_t>>& allocs) {
  const Address end = segment.address + static_cast<Address>(segment.size);
  Address at = segment.address;
  const auto gap = [&](Address to) {
    if (to > at) segment.blocks.push_back({at, static_cast<std::int64_t>(to - at), 0, BlockState::free});
  };
  auto it = older.lower_bound(segment.address);
  while (it != older.end() && it->first < end) {
    const auto [address, block] = *it;
    it = older.erase(it);
    const Address limit = it == older.end() ? end : std::min(end, it->first);
    std::int64_t size = block.size == 0 ? history.settings.rounded(block.requested) : block.size;
    if (address < at || size <= 0 || static_cast<Address>(size) > end - address) {
      ++history.orphans;
      continue;
    }
    const auto room = static_cast<std::int64_t>(limit - address) - size;
    if (block.size == 0 && room > 0 && segment.large && !segment.expandable) {
      if (room <= mib || size >= history.settings.max_split_size) {
        size += room;  // the large pool has no free blocks of 1 MiB or less
      } else {
        const std::int64_t slack = end_shown_by_trace(allocs, address + static_cast<Address>(size), block.freed);
        if (slack > 0 && slack <= room) size += slack;
        if (slack < 0) ++history.ambiguous;
      }
    }
    gap(address);
    segment.blocks.push_back(
        {address, size, std::min(block.requested, size), block.pending ? BlockState::pending : BlockState::live});
    at = address + static_cast<Address>(size);
  }
  gap(end);
}

/// Reserved ranges begin where the lowest page was seen, and end before the next thing that is not theirs.
void find_reserves(const Snapshot& snapshot, History& history) {
  using Key = std::tuple<std::int32_t, Stream, PoolId, bool>;
  std::map<Address, std::pair<Key, Address>> seen;  // begin → whose, end
  const auto add = [&](const Key& key, Address address, std::int64_t size) {
    auto& entry = seen[address];
    entry = {key, std::max(entry.second, address + static_cast<Address>(size))};
  };
  for (const Segment& s : history.start)
    if (s.expandable) add({history.device, s.stream, s.pool, s.large}, s.address, s.size);
  for (const RecordedSegment& r : snapshot.segments)
    add({r.segment.expandable ? r.device : -1, r.segment.stream, r.segment.pool, r.segment.large}, r.segment.address,
        r.segment.size);
  for (std::size_t i = 0; i < history.steps.size(); ++i) {
    const Step& step = history.steps[i];
    if (step.kind != Step::segment_map) continue;
    // Pages are mapped for the allocation that follows: its size tells the pool.
    std::size_t next = i;
    while (next < history.steps.size() && history.steps[next].kind != Step::alloc &&
           history.steps[next].kind != Step::oom)
      ++next;
    const bool large = next == history.steps.size() || history.settings.rounded(history.steps[next].size) > mib;
    add({history.device, step.stream, {0, 0}, large}, step.address, step.size);
  }
  constexpr std::int64_t assumed = std::int64_t{1} << 38;
  const Key* last = nullptr;
  for (const auto& [address, entry] : seen) {
    const auto& [key, end] = entry;
    if (last != nullptr && *last == key && std::get<0>(key) == history.device) {
      Reserve& reserve = history.reserves.back();
      reserve.size = std::max(reserve.size, static_cast<std::int64_t>(end - reserve.address) + assumed);
    } else {
      if (!history.reserves.empty() && last != nullptr && std::get<0>(*last) == history.device) {
        Reserve& before = history.reserves.back();
        before.size = std::min(before.size, static_cast<std::int64_t>(address - before.address));
      }
      if (std::get<0>(key) == history.device)
        history.reserves.push_back({address, static_cast<std::int64_t>(end - address) + assumed, std::get<1>(key),
                                    std::get<2>(key), std::get<3>(key)});
    }
    last = &key;
  }
  for (Reserve& reserve : history.reserves) {
    const std::int64_t page = reserve.large ? history.settings.large_segment_size : small_segment;
    reserve.size = reserve.size / page * page;
  }
}

/// An out-of-memory event says what was free: with what was held then, that is all there was.
void find_capacity(History& history) {
  std::int64_t held = 0;
  for (const Segment& segment : history.start) held += segment.size;
  for (const Step& step : history.steps) {
    if (step.kind == Step::segment_alloc || step.kind == Step::segment_map) held += step.size;
    if (step.kind == Step::segment_free || step.kind == Step::segment_unmap) held -= step.size;
    if (step.kind == Step::oom)
      history.capacity = held + static_cast<std::int64_t>(std::min<Address>(step.address, Address{1} << 48));
  }
}

}  // namespace

void rebuild_start(const Snapshot& snapshot, History& history) {
  std::map<Address, Older> older = older_blocks(history);
  if (history.finish.empty() && !older.empty()) history.laid_out = false;
  if (history.laid_out) {
    std::vector<std::pair<Address, std::uint32_t>> allocs;
    for (std::size_t i = 0; i < history.steps.size(); ++i)
      if (history.steps[i].kind == Step::alloc)
        allocs.emplace_back(history.steps[i].address, static_cast<std::uint32_t>(i));
    std::ranges::sort(allocs);
    history.start = older_segments(history);
    for (Segment& segment : history.start) lay_out(history, segment, older, allocs);
    history.orphans += older.size();
  } else {
    // Nothing says where the segments were: the blocks alone, as if each had its own.
    for (const auto& [address, block] : older) {
      Segment segment;
      segment.address = address;
      segment.size = history.settings.rounded(block.requested);
      segment.large = segment.size > mib;
      segment.blocks.push_back({address, segment.size, block.requested, BlockState::live});
      history.start.push_back(std::move(segment));
    }
  }
  history.complete = history.start.empty();
  find_reserves(snapshot, history);
  find_capacity(history);
}

}  // namespace athanor::allocator
