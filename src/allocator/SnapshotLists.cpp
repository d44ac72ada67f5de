#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "allocator/SnapshotBuilder.h"
#include "athanor/core/Error.h"

namespace athanor::allocator {

Value SnapshotBuilder::list(std::span<const Value> items) {
  if (items.empty()) return {Value::empty, 0};
  Value::Kind kind = items[0].kind;
  for (const Value& item : items)
    if (item.kind != Value::empty) kind = item.kind;
  const auto same = [&](const Value& item) { return item.kind == kind; };
  if (kind == Value::frame && std::ranges::all_of(items, same)) {
    std::vector<std::uint32_t> ids(items.size());
    std::ranges::transform(items, ids.begin(), [](const Value& v) { return static_cast<std::uint32_t>(v.payload); });
    return Value::of(Value::stack, snapshot_.frames.stack(ids));
  }
  if (kind == Value::event && std::ranges::all_of(items, same)) {
    // Events come in the order of their lists, and each belongs to one.
    const std::size_t begin = taken_events_;
    for (const Value& item : items)
      if (item.payload >= 0 && static_cast<std::size_t>(item.payload) != taken_events_++)
        throw Error("its events do not stand in the order of their traces");
    if (taken_events_ > events_.size()) throw Error("an event stands in two traces");
    if (begin == 0 && taken_events_ == events_.size()) {
      traces_.push_back(std::exchange(events_, {}));
      taken_events_ = 0;
    } else {
      const auto first = events_.begin() + static_cast<std::ptrdiff_t>(begin);
      traces_.emplace_back(first, events_.begin() + static_cast<std::ptrdiff_t>(taken_events_));
    }
    return Value::of(Value::trace, traces_.size() - 1);
  }
  if (kind == Value::trace || kind == Value::empty) {
    const auto begin = static_cast<std::uint32_t>(listed_traces_.size());
    for (const Value& item : items) {
      if (item.kind != Value::trace && item.kind != Value::empty) return {Value::other, 0};
      if (item.kind == Value::empty) traces_.emplace_back();
      listed_traces_.push_back(static_cast<std::uint32_t>(
          item.kind == Value::empty ? traces_.size() - 1 : static_cast<std::size_t>(item.payload)));
    }
    trace_lists_.push_back({begin, static_cast<std::uint32_t>(listed_traces_.size())});
    return Value::of(Value::traces, trace_lists_.size() - 1);
  }
  if (kind == Value::block || kind == Value::segment) {
    const auto first = static_cast<std::uint32_t>(items[0].payload);
    for (std::size_t i = 0; i < items.size(); ++i)
      if (items[i].kind != kind || static_cast<std::size_t>(items[i].payload) != first + i)
        throw Error("its blocks or segments do not stand in the order of their list");
    const Range range{first, first + static_cast<std::uint32_t>(items.size())};
    auto& lists = kind == Value::block ? block_lists_ : segment_lists_;
    lists.push_back(range);
    return Value::of(kind == Value::block ? Value::blocks : Value::segments, lists.size() - 1);
  }
  return {Value::other, 0};
}

Value SnapshotBuilder::tuple(std::span<const Value> items) {
  if (items.size() == 2 && items[0].kind == Value::integer && items[1].kind == Value::integer) {
    if (snapshot_.pools.size() > 4096) throw Error("it names more than 4096 pools");
    return Value::of(Value::pool, snapshot_.pool_index({static_cast<std::uint64_t>(items[0].payload),
                                                        static_cast<std::uint64_t>(items[1].payload)}));
  }
  return {Value::other, 0};
}

void SnapshotBuilder::add_segment(const Pieces& pieces) {
  RecordedSegment recorded;
  recorded.device = pieces.device;
  recorded.stack = pieces.stack;
  Segment& segment = recorded.segment;
  segment.address = pieces.address;
  segment.size = pieces.size;
  segment.stream = pieces.stream;
  if (pieces.pool < snapshot_.pools.size()) segment.pool = snapshot_.pools[pieces.pool];
  segment.large = pieces.large;
  segment.expandable = pieces.expandable;
  Address at = pieces.address;
  if (pieces.has_blocks) {
    const Range range = block_lists_[pieces.blocks];
    for (std::uint32_t i = range.begin; i < range.end; ++i) {
      const RawBlock& block = blocks_[i];
      // Releases before 2.1 do not write the address: blocks follow one another.
      segment.blocks.push_back({block.has_address ? block.address : at, block.size, block.requested, block.state});
      recorded.block_stacks.push_back(block.stack);
      at += static_cast<Address>(block.size);
    }
  }
  snapshot_.segments.push_back(std::move(recorded));
}

Snapshot SnapshotBuilder::finish(Value outermost, Source source, bool truncated) {
  if (!is_snapshot(outermost))
    throw Error(
        "it is no memory snapshot: the outermost value is not a dictionary with 'segments' and 'device_traces'");
  if (outermost.kind == Value::segments)  // torch.cuda.memory_snapshot(): segments alone
    root_segments_ = segment_lists_[static_cast<std::size_t>(outermost.payload)];
  if (truncated && root_segments_.begin == root_segments_.end && root_traces_.begin == root_traces_.end)
    throw Error("it ends in the middle: the file is truncated before its first segment");
  if (snapshot_.pools.empty()) snapshot_.pool_index({0, 0});
  for (std::uint32_t i = root_segments_.begin; i < root_segments_.end; ++i) add_segment(segments_[i]);
  for (std::uint32_t i = root_traces_.begin; i < root_traces_.end; ++i)
    snapshot_.traces.push_back(std::move(traces_[listed_traces_[i]]));
  if (has_conf_) snapshot_.conf = conf_;
  if (snapshot_.unknown_events > 0)
    snapshot_.warnings.push_back(
        fmt::format("{} entries of the trace have an action this reader does not know; they are left out",
                    snapshot_.unknown_events));
  snapshot_.source = source;
  snapshot_.truncated = truncated;
  return std::move(snapshot_);
}

}  // namespace athanor::allocator
