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

/// Takes the pages from begin to end out of the mapped pieces they lie in.
void cut(std::map<Address, Segment>& held, Address begin, Address end) {
  auto it = held.upper_bound(begin);
  if (it != held.begin() && within(std::prev(it)->second, begin)) --it;
  while (it != held.end() && it->first < end) {
    const Segment whole = it->second;
    if (!whole.expandable) {
      ++it;
      continue;
    }
    it = held.erase(it);
    const Address finish = whole.address + static_cast<Address>(whole.size);
    Segment before = whole, after = whole;
    before.size = static_cast<std::int64_t>(std::max(begin, whole.address) - whole.address);
    after.address = std::min(end, finish);
    after.size = static_cast<std::int64_t>(finish - after.address);
    if (before.size > 0) held[before.address] = before;
    if (after.size > 0) held[after.address] = after;
  }
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
      cut(held, step->address, step->address + static_cast<Address>(step->size));
    } else if (step->kind == Step::segment_unmap) {
      cut(held, step->address, step->address + static_cast<Address>(step->size));
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

/// The ranges expandable segments lie in. One begins at its lowest page, ends before the next thing that is not its
/// own, and is given up when its last page is unmapped; the next page mapped then opens a new one.
class Ranges {
 public:
  Ranges(const Snapshot& snapshot, History& history) : history_(history) {
    for (const Segment& s : history.start) {
      if (s.expandable) extend({s.stream, s.pool, s.large}, s.address, s.size, true, 0);
      others_.push_back(s.address);
    }
    for (const RecordedSegment& r : snapshot.segments)
      if (r.device != history.device || !r.segment.expandable) others_.push_back(r.segment.address);
    for (std::size_t i = 0; i < history.steps.size(); ++i) follow(i);
    if (history.partial) reserved_later(snapshot);
    std::ranges::sort(others_);
    write();
  }

 private:
  using Key = std::tuple<Stream, PoolId, bool>;
  struct Life {
    Key key;
    Address base, end;
    std::int64_t held;
    bool at_start;
    std::size_t from, to;  // steps
  };

  void extend(const Key& key, Address address, std::int64_t size, bool at_start, std::size_t now) {
    const Address end = address + static_cast<Address>(size);
    const auto [current, is_new] = current_.try_emplace(key, lives_.size());
    if (is_new) lives_.push_back({key, address, end, 0, at_start, now, history_.steps.size()});
    Life& life = lives_[current->second];
    life.base = std::min(life.base, address);
    life.end = std::max(life.end, end);
    life.held += size;
  }

  void follow(std::size_t i) {
    const Step& step = history_.steps[i];
    if (step.kind == Step::segment_alloc) others_.push_back(step.address);
    if (step.kind == Step::segment_map) {
      // Pages are mapped for the allocation that follows: its size tells the pool.
      std::size_t next = i;
      while (next < history_.steps.size() && history_.steps[next].kind != Step::alloc &&
             history_.steps[next].kind != Step::oom)
        ++next;
      const bool large = next == history_.steps.size() || history_.settings.rounded(history_.steps[next].size) > mib;
      const PoolId pool = step.pool < history_.pools.size() ? history_.pools[step.pool] : PoolId{0, 0};
      extend({step.stream, pool, large}, step.address, step.size, false, i);
    } else if (step.kind == Step::segment_unmap) {
      for (auto it = current_.begin(); it != current_.end(); ++it) {
        Life& life = lives_[it->second];
        if (step.address < life.base || step.address >= life.end || std::get<0>(life.key) != step.stream) continue;
        life.held -= step.size;
        if (life.held <= 0) {
          life.to = i;
          current_.erase(it);
        }
        break;
      }
    }
  }

  /// Ranges that the segments listed show and the steps do not: they bound the others.
  void reserved_later(const Snapshot& snapshot) {
    std::map<Key, Life> later;
    for (const RecordedSegment& r : snapshot.segments) {
      const Segment& s = r.segment;
      const Key key{s.stream, s.pool, s.large};
      if (r.device != history_.device || !s.expandable || current_.contains(key)) continue;
      const std::size_t now = history_.steps.size();
      const auto life = later.try_emplace(key, Life{key, s.address, s.address, 0, false, now, now}).first;
      life->second.base = std::min(life->second.base, s.address);
    }
    for (const auto& [key, life] : later) lives_.push_back(life);
  }

  /// From a range's base to whatever begins behind it while it lives; unlimited if nothing does.
  [[nodiscard]] std::int64_t room(const Life& life) const {
    std::int64_t room = unlimited;
    const auto limit = [&](Address other) {
      if (other > life.base && other >= life.end) room = std::min(room, static_cast<std::int64_t>(other - life.base));
    };
    if (const auto next = std::ranges::lower_bound(others_, life.end); next != others_.end()) limit(*next);
    for (const Life& other : lives_)
      if (other.key != life.key && other.from <= life.to && life.from <= other.to) limit(other.base);
    return room;
  }

  /// Every range is as long, up to its page: 1 1/8 of the device. So the closest neighbours bound them all.
  void write() {
    std::int64_t bound = unlimited;
    for (const Life& life : lives_) bound = std::min(bound, room(life));
    if (bound != unlimited) history_.total_memory = bound / 9 * 8;
    for (const Life& life : lives_) {
      const std::int64_t page = std::get<2>(life.key) ? history_.settings.large_segment_size : small_segment;
      constexpr std::int64_t assumed = std::int64_t{1} << 38;
      const auto used = static_cast<std::int64_t>(life.end - life.base);
      const std::int64_t wanted =
          bound == unlimited ? used + assumed : std::max(used, (bound + page - 1) / page * page);
      const std::int64_t size = std::min(wanted, room(life)) / page * page;
      (life.at_start ? history_.reserves : history_.later_reserves)
          .push_back({life.base, size, std::get<0>(life.key), std::get<1>(life.key), std::get<2>(life.key)});
    }
  }

  History& history_;
  std::vector<Life> lives_;
  std::map<Key, std::size_t> current_;
  std::vector<Address> others_;  // where something else begins
};

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
    history.start = older_segments(history);
    std::vector<std::pair<Address, std::uint32_t>> allocs;
    for (std::size_t i = 0; i < history.steps.size() && !older.empty(); ++i)
      if (history.steps[i].kind == Step::alloc)
        allocs.emplace_back(history.steps[i].address, static_cast<std::uint32_t>(i));
    std::ranges::sort(allocs);
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
  Ranges(snapshot, history);
  find_capacity(history);
}

}  // namespace athanor::allocator
