#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "athanor/allocator/Segment.h"

namespace athanor::allocator {

/// One line of a call stack; `file` and `function` are ids in Frames.
struct Frame {
  std::uint32_t file = 0;
  std::uint32_t function = 0;
  std::int32_t line = 0;

  bool operator==(const Frame&) const = default;
};

/// Call stacks, each text, frame and stack stored once. Stack 0 is the empty one. Innermost frame first, as in
/// snapshots.
class Frames {
 public:
  Frames();

  std::uint32_t text(std::string_view text);
  std::uint32_t frame(std::string_view file, std::int64_t line, std::string_view function);
  std::uint32_t frame(Frame frame);
  std::uint32_t stack(std::span<const std::uint32_t> frames);

  [[nodiscard]] const std::string& text(std::uint32_t id) const { return texts_[id]; }
  [[nodiscard]] const Frame& frame(std::uint32_t id) const { return frames_[id]; }
  [[nodiscard]] std::span<const std::uint32_t> stack(std::uint32_t id) const;
  [[nodiscard]] std::size_t stacks() const { return begins_.size() - 1; }

  /// The innermost Python frame outside of installed packages, or the innermost Python one, or the innermost that is
  /// not PyTorch's own unwinding: "train.py:12 step"; "" for the empty stack.
  [[nodiscard]] std::string culprit(std::uint32_t stack) const;

 private:
  std::vector<std::string> texts_;
  std::vector<Frame> frames_;
  std::vector<std::uint32_t> members_;  // frame ids of all stacks, one after the other
  std::vector<std::size_t> begins_;
  std::unordered_multimap<std::size_t, std::uint32_t> text_index_, frame_index_, stack_index_;
};

/// An entry of a device's trace.
struct TraceEvent {
  Action action = Action::alloc;
  std::uint32_t stack = 0;
  std::uint32_t stream = 0;  ///< index into Snapshot::streams
  std::uint32_t pool = 0;    ///< index into Snapshot::pools
  Address address = 0;       ///< oom: the bytes the driver had free
  std::int64_t size = 0;
  std::int64_t time_us = 0;
};

/// Segments as the snapshot lists them, with who allocated each block.
struct RecordedSegment {
  Segment segment;
  std::int32_t device = 0;
  std::uint32_t stack = 0;
  std::vector<std::uint32_t> block_stacks;  ///< one for each block
};

enum class Source : std::uint8_t { pickle, json, profiler };

/// A memory snapshot: what torch.cuda.memory._dump_snapshot wrote, or what can be told from a profiler trace.
struct Snapshot {
  Source source = Source::pickle;
  std::vector<std::vector<TraceEvent>> traces;  ///< by device, oldest first
  std::vector<RecordedSegment> segments;        ///< the state at the end, all devices
  std::vector<Stream> streams;
  std::vector<PoolId> pools;
  Frames frames;
  bool truncated = false;                   ///< The file ends too early: what stands before its end is here.
  std::optional<std::string> conf;          ///< PYTORCH_CUDA_ALLOC_CONF; nullopt: the file does not say
  std::vector<std::string> warnings;        ///< What was odd or left out, one line each.
  std::size_t unknown_events = 0;           ///< Entries whose action this reader does not know; they are left out.
  std::int64_t recorded_peak_reserved = 0;  ///< Profiler traces only.

  std::uint32_t stream_index(Stream stream);
  std::uint32_t pool_index(PoolId pool);
};

/// Reads a snapshot: a pickle (nothing in it is executed or imported: an opcode that would is refused by name), a JSON
/// dump of one, or a PyTorch profiler trace (.pt.trace.json); each of them gzipped too. A file that ends too early is
/// read as far as it goes. Memory stays within a small multiple of the file. Throws athanor::Error: path, what is wrong
/// and where, what to do.
Snapshot read_snapshot(const std::filesystem::path& path);

/// The same from memory; `name` begins the error messages.
Snapshot parse_snapshot(std::string_view bytes, const std::string& name);

/// Writes a snapshot as PyTorch does (pickle protocol 4), so that torch.cuda._memory_viz and pytorch.org/memory_viz
/// open it.
void write_snapshot(const Snapshot& snapshot, const std::filesystem::path& path);
std::string pickled(const Snapshot& snapshot);

}  // namespace athanor::allocator
