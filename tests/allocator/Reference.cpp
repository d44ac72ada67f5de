#include "allocator/Reference.h"

namespace athanor::allocator {
namespace {
constexpr std::int64_t mib = 1048576;

std::int64_t ceil_to(std::int64_t value, std::int64_t step) {
  return value % step == 0 ? value : value + step - value % step;
}
}  // namespace

std::vector<std::size_t> Reference::free_in_order(bool large) const {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < pieces_.size(); ++i)
    if (pieces_[i].idle() && pieces_[i].mapped && pieces_[i].large == large) found.push_back(i);
  std::ranges::sort(found, [&](std::size_t a, std::size_t b) {
    return std::tuple(pieces_[a].stream, pieces_[a].size, pieces_[a].address) <
           std::tuple(pieces_[b].stream, pieces_[b].size, pieces_[b].address);
  });
  return found;
}

std::optional<std::size_t> Reference::best(const Wanted& wanted) {
  if (settings_.garbage_collection_threshold > 0 && settings_.memory_fraction < 1) ++searches_[wanted.large];
  std::vector<std::size_t> fitting = free_in_order(wanted.large);
  std::erase_if(fitting,
                [&](std::size_t i) { return pieces_[i].stream != wanted.stream || pieces_[i].size < wanted.size; });
  if (fitting.empty()) return std::nullopt;
  std::size_t choice = 0;
  while (settings_.expandable_segments && choice + 1 < fitting.size() &&
         reach(fitting[choice + 1]) < reach(fitting[choice]))
    ++choice;
  const std::int64_t size = pieces_[fitting[choice]].size;
  const std::int64_t never_split = settings_.max_split_size;
  if (wanted.size < never_split ? size >= never_split : size >= wanted.size + settings_.max_non_split_rounding)
    return std::nullopt;
  return fitting[choice];
}

void Reference::cut(std::size_t i, std::int64_t size) {
  Piece rest = pieces_[i];
  rest.address += static_cast<Address>(size);
  rest.size -= size;
  pieces_[i].size = size;
  pieces_.insert(pieces_.begin() + static_cast<std::ptrdiff_t>(i) + 1, rest);
}

bool Reference::map_pages(std::size_t i, std::int64_t bytes) {
  bytes = ceil_to(bytes, pieces_[i].large ? settings_.large_segment_size : 2 * mib);
  if (held() + bytes > capacity_) return false;
  if (bytes < pieces_[i].size) cut(i, bytes);
  pieces_[i].mapped = true;
  return true;
}

std::optional<std::size_t> Reference::grow_pages(const Wanted& wanted) {
  for (int tries = 0; tries < 2; ++tries) {
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      const Piece& hole = pieces_[i];
      if (hole.mapped || hole.large != wanted.large || hole.stream != wanted.stream) continue;
      std::size_t first = i;
      if (i > 0 && pieces_[i - 1].home == hole.home && pieces_[i - 1].idle()) first = i - 1;
      std::int64_t room = 0;
      for (std::size_t j = first; j < pieces_.size() && pieces_[j].home == hole.home && pieces_[j].idle(); ++j)
        room += pieces_[j].size;
      if (room < wanted.size) continue;
      const Address start = pieces_[first].address;
      while (true) {
        const std::size_t here = at(start);
        const std::int64_t have = pieces_[here].mapped ? pieces_[here].size : 0;
        if (have >= wanted.size) return here;
        const std::size_t next = have == 0 ? here : here + 1;
        if (!map_pages(next, std::min(wanted.size - have, pieces_[next].size))) {
          merge_all();
          return std::nullopt;
        }
        count();  // pages stay mapped even if the next ones cannot be
        pieces_[next].searched = searches_[wanted.large];
        merge_all();
      }
    }
    Piece range;
    range.large = wanted.large;
    range.size = ceil_to(std::max(capacity_ + capacity_ / 8, wanted.size),
                         wanted.large ? settings_.large_segment_size : 2 * mib);
    range.address = place_(range.size, true).address;
    range.stream = wanted.stream;
    range.mapped = false;
    range.expandable = true;
    range.home = ++homes_;
    pieces_.push_back(range);
    std::ranges::sort(pieces_, {}, &Piece::address);
  }
  return std::nullopt;
}

std::optional<std::size_t> Reference::grow(const Wanted& wanted) {
  Piece segment;
  segment.size = !wanted.large            ? 2 * mib
                 : wanted.size < 10 * mib ? settings_.large_segment_size
                                          : ceil_to(wanted.size, 2 * mib);
  if (settings_.memory_fraction < 1 &&
      held() + segment.size > static_cast<std::int64_t>(settings_.memory_fraction * static_cast<double>(capacity_)))
    return std::nullopt;
  if (settings_.expandable_segments) return grow_pages(wanted);
  if (held() + segment.size > capacity_) return std::nullopt;
  segment.address = place_(segment.size, false).address;
  segment.stream = wanted.stream;
  segment.large = wanted.large;
  segment.home = ++homes_;
  pieces_.push_back(segment);
  std::ranges::sort(pieces_, {}, &Piece::address);
  return at(segment.address);
}

void Reference::merge_all() {
  for (std::size_t i = 0; i + 1 < pieces_.size();) {
    Piece& a = pieces_[i];
    const Piece& b = pieces_[i + 1];
    if (a.home == b.home && a.idle() && b.idle() && a.mapped == b.mapped) {
      a.searched = std::max(a.searched, b.searched);  // merging makes a block new
      a.size += b.size;
      pieces_.erase(pieces_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    } else {
      ++i;
    }
  }
}

void Reference::complete_finished(bool all) {
  std::vector<Stream> stuck;  // a stream's work finishes in order
  std::erase_if(queue_, [&](const auto& entry) {
    const bool blocked = std::ranges::find(stuck, entry.first) != stuck.end();
    if (!all && (blocked || !entry.second.second)) {
      stuck.push_back(entry.first);
      return false;
    }
    Piece& piece = pieces_[at(entry.second.first)];
    if (--piece.waits == 0) {
      piece.requested = 0;
      piece.searched = searches_[piece.large];
    }
    return true;
  });
  merge_all();
}

std::optional<Address> Reference::allocate(std::int64_t size, Stream stream) {
  complete_finished(false);
  Wanted wanted{settings_.rounded(size), stream, false};
  wanted.large = wanted.size > mib;
  auto found = best(wanted);
  if (!found) {
    collect_garbage();
    found = grow(wanted);
    if (!found && release_oversize(wanted)) found = grow(wanted);
    if (!found) {
      empty_cache();
      ++retries;
      found = grow(wanted);
    }
  }
  count();
  if (!found) {
    ++ooms;
    return std::nullopt;
  }
  const std::size_t i = *found;
  const std::int64_t rest = pieces_[i].size - wanted.size;
  const bool fine = !wanted.large || settings_.expandable_segments;
  if (fine ? rest >= 512 : (rest > mib && wanted.size < settings_.max_split_size)) {
    pieces_[i].searched = searches_[wanted.large];
    cut(i, wanted.size);
  }
  pieces_[i].live = true;
  pieces_[i].requested = size;
  count();
  return pieces_[i].address;
}

void Reference::free(Address address) {
  Piece& piece = pieces_[at(address)];
  piece.live = false;
  piece.waits = static_cast<int>(piece.users.size());
  for (const Stream stream : piece.users) queue_.push_back({stream, {address, false}});
  piece.users.clear();
  if (piece.waits == 0) {
    piece.requested = 0;
    piece.searched = searches_[piece.large];
  }
  merge_all();
  count();
}

void Reference::record_stream(Address address, Stream stream) {
  Piece& piece = pieces_[at(address)];
  if (piece.stream == stream || std::ranges::find(piece.users, stream) != piece.users.end()) return;
  piece.users.push_back(stream);
  std::ranges::sort(piece.users);
}

void Reference::empty_cache() {
  complete_finished(true);
  for (std::size_t i = pieces_.size(); i-- > 0;) {
    if (!pieces_[i].idle() || pieces_[i].expandable) continue;
    if (alone(i)) pieces_.erase(pieces_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (!pieces_[i].idle() || !pieces_[i].expandable || !pieces_[i].mapped) continue;
    const std::int64_t page = pieces_[i].large ? settings_.large_segment_size : 2 * mib;
    // Every reserved range begins on a page, at an address that is a multiple of any page here or not: count from it.
    std::size_t head = i;
    while (head > 0 && pieces_[head - 1].home == pieces_[i].home) --head;
    const auto offset = static_cast<std::int64_t>(pieces_[i].address - pieces_[head].address);
    const std::int64_t first = ceil_to(offset, page) - offset;
    const std::int64_t last = (offset + pieces_[i].size) / page * page - offset;
    if (first >= last) continue;
    if (last < pieces_[i].size) cut(i, last);
    if (first > 0) cut(i++, first);
    pieces_[i].mapped = false;
  }
  merge_all();
  for (std::size_t i = pieces_.size(); i-- > 0;)
    if (!pieces_[i].mapped && alone(i)) pieces_.erase(pieces_.begin() + static_cast<std::ptrdiff_t>(i));
}

bool Reference::release_oversize(const Wanted& wanted) {
  if (settings_.max_split_size == unlimited) return false;
  std::vector<std::size_t> own = free_in_order(wanted.large);
  std::erase_if(
      own, [&](std::size_t i) { return pieces_[i].stream != wanted.stream || !alone(i) || pieces_[i].expandable; });
  const std::int64_t needed = std::max(wanted.size, settings_.max_split_size);
  std::vector<Address> gone;
  std::int64_t sum = 0;
  for (const std::size_t i : own)
    if (pieces_[i].size >= needed && gone.empty()) gone.push_back(pieces_[i].address), sum = pieces_[i].size;
  if (gone.empty())
    for (auto it = own.rbegin(); it != own.rend() && sum < needed && pieces_[*it].size >= settings_.max_split_size;
         ++it)
      gone.push_back(pieces_[*it].address), sum += pieces_[*it].size;
  for (const Address address : gone) pieces_.erase(pieces_.begin() + static_cast<std::ptrdiff_t>(at(address)));
  return sum >= needed;
}

void Reference::collect_garbage() {
  if (settings_.garbage_collection_threshold <= 0 || settings_.memory_fraction >= 1) return;
  const auto allowed = static_cast<std::int64_t>(settings_.memory_fraction * static_cast<double>(capacity_));
  const auto threshold =
      static_cast<std::int64_t>(settings_.garbage_collection_threshold * static_cast<double>(allowed));
  std::int64_t excess = held() - threshold;
  while (excess > 0) {
    std::vector<Address> whole;
    std::int64_t ages = 0;
    for (const std::size_t i : free_in_order(true))
      if (alone(i)) whole.push_back(pieces_[i].address), ages += searches_[true] - pieces_[i].searched;
    if (whole.empty()) return;
    // The mean does not move within a sweep.
    const double mean = static_cast<double>(ages) / static_cast<double>(whole.size());
    bool freed = false;
    for (const Address address : whole) {
      const std::size_t i = at(address);
      if (pieces_[i].expandable || static_cast<double>(searches_[true] - pieces_[i].searched) < mean) continue;
      freed = true;
      excess -= pieces_[i].size;
      pieces_.erase(pieces_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (!freed) return;
  }
}

std::vector<Segment> Reference::segments() const {
  std::vector<Segment> out;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    if (!piece.mapped) continue;
    if (i == 0 || pieces_[i - 1].home != piece.home || !pieces_[i - 1].mapped) {
      out.push_back({piece.address, 0, piece.stream, {0, 0}, piece.large, piece.expandable, {}});
    }
    out.back().size += piece.size;
    const BlockState state = piece.live ? BlockState::live : piece.waits > 0 ? BlockState::pending : BlockState::free;
    out.back().blocks.push_back({piece.address, piece.size, piece.requested, state});
  }
  return out;
}

Reference::Sums Reference::sums() const {
  Sums sums{};
  const auto tally = [&](std::size_t what, bool large, std::int64_t amount) {
    sums[what][0] += amount;
    sums[what][large ? 2 : 1] += amount;
  };
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& p = pieces_[i];
    if (!p.mapped) continue;
    tally(5, p.large, p.size);
    if (!p.expandable && (i == 0 || pieces_[i - 1].home != p.home)) tally(1, p.large, 1);
    if (p.live) {
      tally(0, p.large, 1);
      tally(4, p.large, p.size);
    }
    if (!p.idle()) {
      tally(2, p.large, 1);
      tally(6, p.large, p.size);
      tally(8, p.large, p.requested);
    } else if (!alone(i) && !p.expandable) {
      tally(3, p.large, 1);
      tally(7, p.large, p.size);
    }
  }
  return sums;
}

void Reference::count() {
  const Sums now = sums();
  for (std::size_t i = 0; i < now.size(); ++i)
    for (std::size_t j = 0; j < 3; ++j) peaks_[i][j] = std::max(peaks_[i][j], now[i][j]);
}

Statistics Reference::statistics() const {
  Statistics out;
  PoolStat* const stats[] = {&out.allocation,      &out.segment,        &out.active,       &out.inactive_split,
                             &out.allocated_bytes, &out.reserved_bytes, &out.active_bytes, &out.inactive_split_bytes,
                             &out.requested_bytes};
  const Sums now = sums();
  for (std::size_t i = 0; i < now.size(); ++i) {
    stats[i]->all = {now[i][0], peaks_[i][0], 0, 0};
    stats[i]->small_pool = {now[i][1], peaks_[i][1], 0, 0};
    stats[i]->large_pool = {now[i][2], peaks_[i][2], 0, 0};
  }
  std::map<int, std::int64_t> homes;
  for (const Piece& p : pieces_) {
    out.oversize_allocations.current += p.live && p.size >= settings_.max_split_size;
    if (!p.expandable) homes[p.home] += p.size;
  }
  for (const auto& [home, size] : homes) out.oversize_segments.current += size >= settings_.max_split_size;
  return out;
}

}  // namespace athanor::allocator
