#include <algorithm>
#include <array>
#include <cstring>

#include "athanor/allocator/Settings.h"
#include "athanor/allocator/Snapshot.h"
#include "athanor/core/AtomicFile.h"

namespace athanor::allocator {
namespace {

/// Writes pickle protocol 4. Texts and stacks are written once and recalled from the memo.
class Writer {
 public:
  explicit Writer(const Snapshot& snapshot) : snapshot_(snapshot), stack_memo_(snapshot.frames.stacks(), 0) {}
  std::string write();

 private:
  void code(char opcode) { out_.push_back(opcode); }
  template <class Integer>
  void raw(Integer value) {
    std::array<char, sizeof value> bytes;
    std::memcpy(bytes.data(), &value, sizeof value);
    out_.append(bytes.data(), bytes.size());
  }
  std::uint32_t memoize() {
    code('\x94');
    return next_memo_++;
  }
  void recall(std::uint32_t index) {
    if (index < 256) {
      code('h');
      raw(static_cast<std::uint8_t>(index));
    } else {
      code('j');
      raw(index);
    }
  }
  void integer(std::uint64_t value);
  void text(std::string_view value);
  void truth(bool value) { code(value ? '\x88' : '\x89'); }
  void key(std::string_view name) { text(name); }
  void begin_list() {
    code(']');
    memoize();
    code('(');
  }
  void end_list() { code('e'); }
  void begin_dictionary() {
    code('}');
    memoize();
    code('(');
  }
  void end_dictionary() { code('u'); }
  void stack(std::uint32_t id);
  void event(const TraceEvent& event);
  void segment(const RecordedSegment& recorded);
  void pool(PoolId pool) {
    integer(pool.first);
    integer(pool.second);
    code('\x86');
    memoize();
  }
  void settings();

  const Snapshot& snapshot_;
  std::string out_;
  std::uint32_t next_memo_ = 0;
  std::unordered_map<std::string_view, std::uint32_t> texts_;
  std::vector<std::uint32_t> stack_memo_;  // 0: not written yet, else memo + 1
};

void Writer::integer(std::uint64_t value) {
  if (value < 256) {
    code('K');
    raw(static_cast<std::uint8_t>(value));
  } else if (value < 65536) {
    code('M');
    raw(static_cast<std::uint16_t>(value));
  } else if (value < (std::uint64_t{1} << 31)) {
    code('J');
    raw(static_cast<std::int32_t>(value));
  } else {
    // LONG1 is signed: a set top bit takes one byte more.
    std::uint8_t bytes = 0;
    for (std::uint64_t rest = value; rest != 0; rest >>= 8) ++bytes;
    const bool sign = (value >> (8 * bytes - 1) & 1) != 0;
    code('\x8a');
    raw(static_cast<std::uint8_t>(bytes + (sign ? 1 : 0)));
    for (std::uint8_t i = 0; i < bytes; ++i) raw(static_cast<std::uint8_t>(value >> (8 * i)));
    if (sign) raw(std::uint8_t{0});
  }
}

void Writer::text(std::string_view value) {
  if (const auto known = texts_.find(value); known != texts_.end()) return recall(known->second);
  if (value.size() < 256) {
    code('\x8c');
    raw(static_cast<std::uint8_t>(value.size()));
  } else {
    code('X');
    raw(static_cast<std::uint32_t>(value.size()));
  }
  out_.append(value);
  texts_.emplace(value, memoize());
}

void Writer::stack(std::uint32_t id) {
  if (stack_memo_[id] != 0) return recall(stack_memo_[id] - 1);
  code(']');
  stack_memo_[id] = memoize() + 1;
  const Frames& frames = snapshot_.frames;
  code('(');
  for (const std::uint32_t member : frames.stack(id)) {
    const Frame& frame = frames.frame(member);
    begin_dictionary();
    key("name");
    text(frames.text(frame.function));
    key("filename");
    text(frames.text(frame.file));
    key("line");
    integer(static_cast<std::uint64_t>(std::max(0, frame.line)));
    end_dictionary();
  }
  code('e');
}

void Writer::event(const TraceEvent& event) {
  begin_dictionary();
  key("action");
  text(name(event.action));
  key(event.action == Action::oom ? "device_free" : "addr");
  integer(event.address);
  key("size");
  integer(static_cast<std::uint64_t>(event.size));
  key("stream");
  integer(snapshot_.streams[event.stream]);
  key("time_us");
  integer(static_cast<std::uint64_t>(std::max<std::int64_t>(0, event.time_us)));
  key("segment_pool_id");
  pool(snapshot_.pools[event.pool]);
  key("compile_context");
  text("N/A");
  key("user_metadata");
  text("");
  key("frames");
  stack(event.stack);
  end_dictionary();
}

void Writer::segment(const RecordedSegment& recorded) {
  const Segment& segment = recorded.segment;
  std::int64_t allocated = 0, active = 0, requested = 0;
  for (const Block& block : segment.blocks) {
    if (block.state == BlockState::live) allocated += block.size;
    if (block.state != BlockState::free) active += block.size, requested += block.requested;
  }
  begin_dictionary();
  const std::pair<const char*, std::uint64_t> numbers[] = {{"device", static_cast<std::uint64_t>(recorded.device)},
                                                           {"address", segment.address},
                                                           {"total_size", static_cast<std::uint64_t>(segment.size)},
                                                           {"allocated_size", static_cast<std::uint64_t>(allocated)},
                                                           {"active_size", static_cast<std::uint64_t>(active)},
                                                           {"requested_size", static_cast<std::uint64_t>(requested)},
                                                           {"stream", segment.stream}};
  for (const auto& [field, value] : numbers) {
    key(field);
    integer(value);
  }
  key("segment_type");
  text(segment.large ? "large" : "small");
  key("segment_pool_id");
  pool(segment.pool);
  key("is_expandable");
  truth(segment.expandable);
  key("frames");
  stack(recorded.stack);
  key("blocks");
  begin_list();
  for (std::size_t i = 0; i < segment.blocks.size(); ++i) {
    const Block& block = segment.blocks[i];
    begin_dictionary();
    key("address");
    integer(block.address);
    key("size");
    integer(static_cast<std::uint64_t>(block.size));
    key("requested_size");
    integer(static_cast<std::uint64_t>(block.requested));
    key("state");
    text(block.state == BlockState::live      ? "active_allocated"
         : block.state == BlockState::pending ? "active_pending_free"
                                              : "inactive");
    key("frames");
    stack(i < recorded.block_stacks.size() ? recorded.block_stacks[i] : 0);
    end_dictionary();
  }
  end_list();
  end_dictionary();
}

void Writer::settings() {
  Settings settings;
  try {
    settings = Settings::parse(snapshot_.conf.value_or(""));
  } catch (const std::invalid_argument&) {
    // The text is kept as it is; the fields beside it stay at their defaults.
  }
  begin_dictionary();
  key("PYTORCH_CUDA_ALLOC_CONF");
  text(snapshot_.conf ? std::string_view(*snapshot_.conf) : std::string_view());
  key("max_split_size");
  if (settings.max_split_size == unlimited) {
    code('J');
    raw(std::int32_t{-1});
  } else {
    integer(static_cast<std::uint64_t>(settings.max_split_size));
  }
  key("expandable_segments");
  truth(settings.expandable_segments);
  end_dictionary();
}

std::string Writer::write() {
  out_ = "\x80\x04";
  begin_dictionary();
  key("segments");
  begin_list();
  for (const RecordedSegment& recorded : snapshot_.segments) segment(recorded);
  end_list();
  key("device_traces");
  begin_list();
  for (const auto& trace : snapshot_.traces) {
    begin_list();
    for (const TraceEvent& entry : trace) event(entry);
    end_list();
  }
  end_list();
  if (snapshot_.conf) {
    key("allocator_settings");
    settings();
  }
  key("external_annotations");
  begin_list();
  end_list();
  end_dictionary();
  code('.');
  return std::move(out_);
}

}  // namespace

std::string pickled(const Snapshot& snapshot) {
  return Writer(snapshot).write();
}

void write_snapshot(const Snapshot& snapshot, const std::filesystem::path& path) {
  core::write_atomically(path, pickled(snapshot));
}

}  // namespace athanor::allocator
