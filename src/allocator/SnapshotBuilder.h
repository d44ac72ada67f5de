#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/allocator/Snapshot.h"

namespace athanor::allocator {

/// A value on the way from a file into a Snapshot. Containers are turned into what they mean (a frame, a stack, an
/// event, a block, a segment) as soon as they are complete, so that a file is never held as a tree of dictionaries.
struct Value {
  enum Kind : std::uint8_t {
    nothing,
    truth,
    integer,
    real,   // payload: not kept
    text,   // id in the builder's texts
    other,  // something complete that a snapshot has no use for
    empty,  // an empty list
    frame,
    stack,
    event,
    trace,
    traces,
    block,
    blocks,
    segment,
    segments,
    pool,
    settings,
    root,
    container,  // not yet complete; readers' own use
  };

  static Value of(Kind kind, std::size_t payload) { return {kind, static_cast<std::int64_t>(payload)}; }

  Kind kind = nothing;
  std::int64_t payload = 0;
};

/// Gives values their meaning. Throws athanor::Error (without path) on what no snapshot holds.
class SnapshotBuilder {
 public:
  SnapshotBuilder();

  /// Makes room for the events of a file of that many bytes, so that they need not move while it is read. Room that
  /// is not used costs addresses, no memory.
  void expect(std::size_t bytes);

  std::uint32_t text(std::string_view text);
  [[nodiscard]] std::string_view text_of(Value value) const;

  /// A complete dictionary: key, value, key, value, …; keys are texts or it is `other`.
  Value dictionary(std::span<const Value> items);
  Value list(std::span<const Value> items);
  Value tuple(std::span<const Value> items);

  static bool is_snapshot(Value outermost) {
    return outermost.kind == Value::root || outermost.kind == Value::segments;
  }

  /// The finished snapshot; `truncated`: as far as the file went. Throws if the outermost value is not one.
  Snapshot finish(Value outermost, Source source, bool truncated = false);

 private:
  struct Range {
    std::uint32_t begin, end;
  };
  struct Pieces {
    std::int32_t device = 0;
    bool large = false, expandable = false;
    Address address = 0;
    std::int64_t size = 0;
    Stream stream = 0;
    std::uint32_t pool = 0, stack = 0, blocks = 0;
    bool has_blocks = false;
  };
  struct RawBlock {
    Address address = 0;
    bool has_address = false;
    std::int64_t size = 0, requested = 0;
    BlockState state = BlockState::free;
    std::uint32_t stack = 0;
  };

  Value event(std::span<const Value> items);
  Value frame(std::span<const Value> items);
  Value block(std::span<const Value> items);
  Value segment(std::span<const Value> items);
  Value settings(std::span<const Value> items);
  Value root(std::span<const Value> items);
  [[nodiscard]] std::int64_t size(Value value, const char* what) const;
  [[nodiscard]] std::uint32_t stack_of(Value value) const;
  [[nodiscard]] BlockState state(Value value);
  std::uint32_t stream(Value value);
  void add_segment(const Pieces& pieces);

  Snapshot snapshot_;
  std::vector<TraceEvent> events_;
  std::size_t taken_events_ = 0;  // of events_: those that are in a trace
  std::vector<std::vector<TraceEvent>> traces_;
  std::vector<Range> trace_lists_;  // of traces_
  std::vector<std::uint32_t> listed_traces_;
  std::vector<RawBlock> blocks_;
  std::vector<Range> block_lists_;
  std::vector<Pieces> segments_;
  std::vector<Range> segment_lists_;
  Range root_traces_{0, 0}, root_segments_{0, 0};
  std::string conf_;
  bool has_conf_ = false;
  std::uint32_t last_stream_ = 0;
};

}  // namespace athanor::allocator
