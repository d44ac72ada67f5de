#include "allocator/SnapshotBuilder.h"

#include <fmt/format.h>

#include <algorithm>

#include "athanor/core/Error.h"

namespace athanor::allocator {
namespace {

// Ids of the names a snapshot uses: the first texts of every builder, in this order.
enum Name : std::uint32_t {
  n_empty,
  n_action,
  n_addr,
  n_size,
  n_stream,
  n_frames,
  n_time_us,
  n_device_free,
  n_segment_pool_id,
  n_filename,
  n_line,
  n_name,
  n_state,
  n_requested_size,
  n_address,
  n_history,
  n_real_size,
  n_total_size,
  n_blocks,
  n_device,
  n_segment_type,
  n_is_expandable,
  n_segments,
  n_device_traces,
  n_allocator_settings,
  n_conf,
  n_large,
  n_alloc_conf,
  n_alloc,
  n_free_requested,
  n_free_completed,
  n_segment_alloc,
  n_segment_free,
  n_segment_map,
  n_segment_unmap,
  n_oom,
  n_snapshot,
  n_active_allocated,
  n_active_pending_free,
  n_active_awaiting_free,
  n_inactive,
  n_pool_id,
};
constexpr const char* names[] = {"",
                                 "action",
                                 "addr",
                                 "size",
                                 "stream",
                                 "frames",
                                 "time_us",
                                 "device_free",
                                 "segment_pool_id",
                                 "filename",
                                 "line",
                                 "name",
                                 "state",
                                 "requested_size",
                                 "address",
                                 "history",
                                 "real_size",
                                 "total_size",
                                 "blocks",
                                 "device",
                                 "segment_type",
                                 "is_expandable",
                                 "segments",
                                 "device_traces",
                                 "allocator_settings",
                                 "PYTORCH_CUDA_ALLOC_CONF",
                                 "large",
                                 "PYTORCH_ALLOC_CONF",
                                 "alloc",
                                 "free_requested",
                                 "free_completed",
                                 "segment_alloc",
                                 "segment_free",
                                 "segment_map",
                                 "segment_unmap",
                                 "oom",
                                 "snapshot",
                                 "active_allocated",
                                 "active_pending_free",
                                 "active_awaiting_free",
                                 "inactive",
                                 "pool_id"};

constexpr std::int64_t largest = std::int64_t{1} << 48;

}  // namespace

SnapshotBuilder::SnapshotBuilder() {
  for (const char* name : names) snapshot_.frames.text(name);
}

void SnapshotBuilder::expect(std::size_t bytes) {
  constexpr std::size_t shortest_event = 64;
  events_.reserve(bytes / shortest_event);
}

std::uint32_t SnapshotBuilder::text(std::string_view text) {
  return snapshot_.frames.text(text);
}

std::string_view SnapshotBuilder::text_of(Value value) const {
  return value.kind == Value::text ? std::string_view(snapshot_.frames.text(static_cast<std::uint32_t>(value.payload)))
                                   : std::string_view();
}

std::int64_t SnapshotBuilder::size(Value value, const char* what) const {
  if (value.kind != Value::integer || value.payload < 0 || value.payload > largest)
    throw Error(fmt::format("{} is not a number of bytes a device could have", what));
  return value.payload;
}

std::uint32_t SnapshotBuilder::stack_of(Value value) const {
  return value.kind == Value::stack ? static_cast<std::uint32_t>(value.payload) : 0;
}

std::uint32_t SnapshotBuilder::stream(Value value) {
  if (value.kind != Value::integer) throw Error("a stream is not a number");
  const auto stream = static_cast<Stream>(value.payload);
  if (last_stream_ < snapshot_.streams.size() && snapshot_.streams[last_stream_] == stream) return last_stream_;
  if (snapshot_.streams.size() > 4096) throw Error("it names more than 4096 streams");
  return last_stream_ = snapshot_.stream_index(stream);
}

Value SnapshotBuilder::dictionary(std::span<const Value> items) {
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].kind != Value::text) continue;
    switch (items[i].payload) {
      case n_action:
        return event(items);
      case n_filename:
        return frame(items);
      case n_state:
        return block(items);
      case n_total_size:
        return segment(items);
      case n_segments:
      case n_device_traces:
        return root(items);
      case n_conf:
      case n_alloc_conf:
        return settings(items);
      default:
        break;
    }
  }
  // The one member of an old block's history: who allocated it, and for how many bytes.
  return {Value::other, 0};
}

Value SnapshotBuilder::event(std::span<const Value> items) {
  TraceEvent event;
  bool known = true;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].kind != Value::text) continue;
    const Value& value = items[i + 1];
    switch (items[i].payload) {
      case n_action:
        known = value.kind == Value::text && value.payload >= n_alloc && value.payload <= n_snapshot;
        if (known) event.action = static_cast<Action>(value.payload - n_alloc);
        break;
      case n_addr:
      case n_device_free:
        if (value.kind != Value::integer || value.payload < 0) throw Error("an event's address is not a number");
        event.address = static_cast<Address>(value.payload);
        break;
      case n_size:
        event.size = size(value, "an event's size");
        break;
      case n_stream:
        event.stream = stream(value);
        break;
      case n_frames:
        event.stack = stack_of(value);
        break;
      case n_time_us:
        event.time_us = value.kind == Value::integer ? value.payload : 0;
        break;
      case n_segment_pool_id:
      case n_pool_id:
        if (value.kind == Value::pool) event.pool = static_cast<std::uint32_t>(value.payload);
        break;
      default:
        break;
    }
  }
  if (!known) {
    ++snapshot_.unknown_events;
    return {Value::event, -1};
  }
  if (snapshot_.streams.empty()) snapshot_.stream_index(0);
  if (snapshot_.pools.empty()) snapshot_.pool_index({0, 0});
  events_.push_back(event);
  return Value::of(Value::event, events_.size() - 1);
}

Value SnapshotBuilder::frame(std::span<const Value> items) {
  Frame frame{n_empty, n_empty, 0};
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].kind != Value::text) continue;
    const Value& value = items[i + 1];
    if (items[i].payload == n_filename && value.kind == Value::text)
      frame.file = static_cast<std::uint32_t>(value.payload);
    if (items[i].payload == n_name && value.kind == Value::text)
      frame.function = static_cast<std::uint32_t>(value.payload);
    if (items[i].payload == n_line && value.kind == Value::integer)
      frame.line = static_cast<std::int32_t>(std::clamp<std::int64_t>(value.payload, -1, 0x7fffffff));
  }
  return Value::of(Value::frame, snapshot_.frames.frame(frame));
}

BlockState SnapshotBuilder::state(Value value) {
  if (value.kind == Value::text) {
    if (value.payload == n_active_allocated) return BlockState::live;
    if (value.payload == n_active_pending_free || value.payload == n_active_awaiting_free) return BlockState::pending;
    if (value.payload == n_inactive) return BlockState::free;
  }
  throw Error(fmt::format("a block's state '{}' is none of active_allocated, active_pending_free, inactive",
                          std::string(text_of(value))));
}

Value SnapshotBuilder::block(std::span<const Value> items) {
  RawBlock block;
  bool has_requested = false;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].kind != Value::text) continue;
    const Value& value = items[i + 1];
    switch (items[i].payload) {
      case n_address:
        if (value.kind != Value::integer || value.payload <= 0) throw Error("a block's address is not a number");
        block.address = static_cast<Address>(value.payload);
        block.has_address = true;
        break;
      case n_size:
        block.size = size(value, "a block's size");
        break;
      case n_requested_size:
        block.requested = size(value, "a block's requested_size");
        has_requested = true;
        break;
      case n_state:
        block.state = state(value);
        break;
      case n_frames:
        block.stack = stack_of(value);
        break;
      default:
        break;
    }
  }
  if (!has_requested) block.requested = block.size;
  if (block.state == BlockState::free) block.requested = 0;
  blocks_.push_back(block);
  return Value::of(Value::block, blocks_.size() - 1);
}

Value SnapshotBuilder::segment(std::span<const Value> items) {
  Pieces pieces;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].kind != Value::text) continue;
    const Value& value = items[i + 1];
    switch (items[i].payload) {
      case n_device:
        if (value.kind != Value::integer || value.payload < 0 || value.payload > 1023)
          throw Error("a segment's device is not a number from 0 to 1023");
        pieces.device = static_cast<std::int32_t>(value.payload);
        break;
      case n_address:
        if (value.kind != Value::integer || value.payload <= 0) throw Error("a segment's address is not a number");
        pieces.address = static_cast<Address>(value.payload);
        break;
      case n_total_size:
        pieces.size = size(value, "a segment's total_size");
        break;
      case n_stream:
        pieces.stream = snapshot_.streams.empty() ? (stream(value), static_cast<Stream>(value.payload))
                                                  : snapshot_.streams[stream(value)];
        break;
      case n_segment_type:
        pieces.large = value.kind == Value::text && value.payload == n_large;
        break;
      case n_is_expandable:
        pieces.expandable = value.kind == Value::truth && value.payload != 0;
        break;
      case n_segment_pool_id:
        if (value.kind == Value::pool) pieces.pool = static_cast<std::uint32_t>(value.payload);
        break;
      case n_frames:
        pieces.stack = stack_of(value);
        break;
      case n_blocks:
        pieces.has_blocks = value.kind == Value::blocks;
        if (pieces.has_blocks) pieces.blocks = static_cast<std::uint32_t>(value.payload);
        break;
      default:
        break;
    }
  }
  segments_.push_back(pieces);
  return Value::of(Value::segment, segments_.size() - 1);
}

Value SnapshotBuilder::settings(std::span<const Value> items) {
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].kind != Value::text || (items[i].payload != n_conf && items[i].payload != n_alloc_conf)) continue;
    if (items[i + 1].kind != Value::text) continue;
    conf_ = text_of(items[i + 1]);
    has_conf_ = true;
  }
  return {Value::settings, 0};
}

Value SnapshotBuilder::root(std::span<const Value> items) {
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].kind != Value::text) continue;
    const Value& value = items[i + 1];
    const auto list = static_cast<std::size_t>(value.payload);
    if (items[i].payload == n_segments && value.kind == Value::segments) root_segments_ = segment_lists_[list];
    if (items[i].payload == n_device_traces && value.kind == Value::traces) root_traces_ = trace_lists_[list];
  }
  return {Value::root, 0};
}

}  // namespace athanor::allocator
