#include "allocator/Json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <vector>

#include "allocator/SnapshotBuilder.h"
#include "athanor/core/Error.h"

namespace athanor::allocator {
namespace {

constexpr std::size_t deepest = 64;
constexpr std::int64_t largest = std::int64_t{1} << 48;

/// One "[memory]" event of the profiler: the size of a block, positive where it is handed out.
struct MemoryEvent {
  std::int64_t device = 0;
  Address address = 0;
  std::int64_t bytes = 0;
  std::int64_t reserved = 0;
  double time_us = 0;
};

/// Values as they are parsed; objects and arrays get their meaning as soon as they are closed.
class Handler : public nlohmann::json_sax<nlohmann::json> {
 public:
  Handler(SnapshotBuilder& builder, std::size_t bytes) : builder_(builder), bytes_(bytes) {}

  bool null() override { return add({Value::nothing, 0}); }
  bool boolean(bool value) override { return add({Value::truth, value}); }
  bool number_integer(number_integer_t value) override { return add({Value::integer, value}); }
  bool number_unsigned(number_unsigned_t value) override {
    return add(value >> 63 == 0 ? Value{Value::integer, static_cast<std::int64_t>(value)} : Value{Value::other, 0});
  }
  bool number_float(number_float_t value, const string_t&) override {
    last_real_ = value;
    return add({Value::real, 0});
  }
  bool string(string_t& value) override { return add({Value::text, builder_.text(value)}); }
  bool binary(binary_t&) override { return add({Value::other, 0}); }
  bool key(string_t& key) override {
    if (key == "traceEvents" && open_.size() == 1) profiler_ = true;
    return add({Value::text, builder_.text(key)});
  }
  bool start_object(std::size_t) override { return start('d'); }
  bool start_array(std::size_t) override { return start('l'); }
  bool end_object() override {
    std::vector<Value> items = finish();
    return add(profiler_ ? profiler_object(items) : builder_.dictionary(items));
  }
  bool end_array() override {
    const std::vector<Value> items = finish();
    if (profiler_) return add({Value::other, 0});
    // A pair of numbers is a pool's id: JSON has no tuples.
    const bool numbers = items.size() == 2 && items[0].kind == Value::integer && items[1].kind == Value::integer;
    return add(numbers ? builder_.tuple(items) : builder_.list(items));
  }
  bool parse_error(std::size_t at, const std::string&, const nlohmann::detail::exception&) override {
    if (at <= bytes_) throw Error(fmt::format("it is not valid JSON (at byte {})", at));
    truncated_ = true;
    close_early();
    if (profiler_ ? memory.empty() : !SnapshotBuilder::is_snapshot(outermost_))
      throw Error(fmt::format("it ends in the middle: the file is truncated (at byte {})", bytes_));
    return false;
  }

  [[nodiscard]] bool profiler() const { return profiler_; }
  [[nodiscard]] bool truncated() const { return truncated_; }
  [[nodiscard]] Value outermost() const { return outermost_; }
  std::vector<MemoryEvent> memory;

 private:
  struct Open {
    char kind;  // l array, d object
    std::size_t begin;
  };

  bool start(char kind) {
    if (open_.size() >= deepest) throw Error("it nests deeper than any snapshot");
    open_.push_back({kind, values_.size()});
    return true;
  }
  // The file ends here: arrays as far as they reach, objects in the making left out, except the outermost.
  void close_early() {
    while (!open_.empty() && !profiler_) {
      const char kind = open_.back().kind;
      std::vector<Value> items = finish();
      if (kind == 'd' && !open_.empty()) {
        if (open_.back().kind == 'd') values_.pop_back();  // its key
        continue;
      }
      if (kind == 'd' && items.size() % 2 != 0) items.pop_back();
      add(kind == 'd' ? builder_.dictionary(items) : builder_.list(items));
    }
  }
  std::vector<Value> finish() {
    const auto begin = values_.begin() + static_cast<std::ptrdiff_t>(open_.back().begin);
    std::vector<Value> items(begin, values_.end());
    values_.erase(begin, values_.end());
    open_.pop_back();
    return items;
  }
  bool add(Value value) {
    if (open_.empty()) {
      outermost_ = value;
    } else if (profiler_ && open_.size() == 2) {
      // Members of traceEvents are not kept: a trace has millions.
    } else {
      values_.push_back(value);
      if (value.kind == Value::real)
        values_.back().payload = static_cast<std::int64_t>(reals_.size()), reals_.push_back(last_real_);
    }
    return true;
  }

  [[nodiscard]] double real(Value value) const {
    if (value.kind == Value::integer) return static_cast<double>(value.payload);
    return value.kind == Value::real ? reals_[static_cast<std::size_t>(value.payload)] : 0;
  }

  Value profiler_object(std::span<const Value> items) {
    MemoryEvent event;
    bool has_address = false, has_bytes = false, on_gpu = false, is_memory = false, has_arguments = false;
    double time = 0;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      const std::string_view name = builder_.text_of(items[i]);
      const Value& value = items[i + 1];
      const std::int64_t number = value.kind == Value::integer ? value.payload : 0;
      if (name == "Addr") event.address = static_cast<Address>(number), has_address = number > 0;
      if (name == "Bytes") event.bytes = number, has_bytes = number != 0 && std::abs(number) <= largest;
      if (name == "Device Type") on_gpu = number == 1;
      if (name == "Device Id") event.device = number;
      if (name == "Total Reserved") event.reserved = std::clamp<std::int64_t>(number, 0, largest);
      if (name == "name") is_memory = builder_.text_of(value) == "[memory]";
      if (name == "ts") time = real(value);
      if (name == "args") has_arguments = value.kind == Value::block;
    }
    reals_.clear();
    if (has_address && has_bytes && on_gpu && event.device >= 0 && event.device < 1024) {
      pending_ = event;
      return {Value::block, 0};  // only says to the object around it: these were memory arguments
    }
    if (is_memory && has_arguments) {
      pending_.time_us = time;
      memory.push_back(pending_);
    }
    return {Value::other, 0};
  }

  SnapshotBuilder& builder_;
  std::vector<Value> values_;
  std::vector<Open> open_;
  std::vector<double> reals_;
  double last_real_ = 0;
  MemoryEvent pending_;
  bool profiler_ = false, truncated_ = false;
  std::size_t bytes_;
  Value outermost_;
};

Snapshot from_profiler(std::vector<MemoryEvent> memory, bool truncated) {
  if (memory.empty())
    throw Error("it is a profiler trace without memory events of a GPU: record it with profile(profile_memory=True)");
  std::ranges::stable_sort(memory, {}, &MemoryEvent::time_us);
  Snapshot snapshot;
  snapshot.source = Source::profiler;
  snapshot.truncated = truncated;
  snapshot.stream_index(0);
  snapshot.pool_index({0, 0});
  for (const MemoryEvent& event : memory) {
    const auto device = static_cast<std::size_t>(event.device);
    if (snapshot.traces.size() <= device) snapshot.traces.resize(device + 1);
    TraceEvent entry;
    entry.address = event.address;
    entry.size = std::abs(event.bytes);
    entry.time_us =
        std::isfinite(event.time_us) && std::abs(event.time_us) < 9e18 ? static_cast<std::int64_t>(event.time_us) : 0;
    entry.action = event.bytes > 0 ? Action::alloc : Action::free_requested;
    snapshot.traces[device].push_back(entry);
    if (event.bytes < 0) {
      entry.action = Action::free_completed;
      snapshot.traces[device].push_back(entry);
    }
    snapshot.recorded_peak_reserved = std::max(snapshot.recorded_peak_reserved, event.reserved);
  }
  snapshot.warnings.emplace_back(
      "a profiler trace records sizes of blocks, not of requests, and no streams: the replay is an approximation");
  return snapshot;
}

}  // namespace

Snapshot parse_json(std::string_view bytes) {
  SnapshotBuilder builder;
  Handler handler(builder, bytes.size());
  nlohmann::json::sax_parse(bytes, &handler);
  return handler.profiler() ? from_profiler(std::move(handler.memory), handler.truncated())
                            : builder.finish(handler.outermost(), Source::json, handler.truncated());
}

}  // namespace athanor::allocator
