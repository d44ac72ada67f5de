#include "allocator/PickleMachine.h"

#include <fmt/format.h>

#include <charconv>

namespace athanor::allocator {
namespace {

constexpr std::uint64_t payload_mask = (std::uint64_t{1} << 56) - 1;

std::uint64_t pack(Value value) {
  return static_cast<std::uint64_t>(value.kind) << 56 | (static_cast<std::uint64_t>(value.payload) & payload_mask);
}

Value unpack(std::uint64_t packed) {
  // Shifted back as a signed number, so that small negative payloads survive.
  return {static_cast<Value::Kind>(packed >> 56), static_cast<std::int64_t>(packed << 8) >> 8};
}

}  // namespace

void PickleMachine::fail(const std::string& what) const {
  throw Located(fmt::format("{} (at byte {})", what, at_opcode_));
}

void PickleMachine::end_early() const {
  throw Truncated(fmt::format("it ends in the middle: the file is truncated (at byte {})", at_opcode_));
}

void PickleMachine::open(char kind) {
  std::size_t place = 0;
  if (spare_.empty()) {
    place = open_.size();
    open_.emplace_back();
    if (place > deepest * 64) fail("it nests deeper than any snapshot");
  } else {
    place = spare_.back();
    spare_.pop_back();
  }
  open_[place].kind = kind;
  open_[place].object = objects_.size();
  objects_.push_back(pack({Value::container, static_cast<std::int64_t>(place)}));
  push(Value::container, static_cast<std::int64_t>(open_[place].object));
}

Value PickleMachine::complete_container(Value value) {
  const Value known = unpack(objects_[static_cast<std::size_t>(value.payload)]);
  if (known.kind != Value::container) return known;
  Open& container = open_[static_cast<std::size_t>(known.payload)];
  const Value meaning = container.kind == 'd' ? builder_.dictionary(container.items) : builder_.list(container.items);
  close(container, meaning);
  return meaning;
}

void PickleMachine::close(Open& container, Value meaning) {
  objects_[container.object] = pack(meaning);
  container.items.clear();
  if (container.items.capacity() > 4096) container.items.shrink_to_fit();
  spare_.push_back(static_cast<std::size_t>(&container - open_.data()));
}

std::span<const Value> PickleMachine::above_mark() {
  if (marks_.empty()) fail("there is no mark to go back to: not a valid pickle");
  const std::span<Value> values = std::span(stack_).subspan(marks_.back());
  marks_.pop_back();
  for (Value& value : values) value = complete(value);
  return values;
}

/// The open container just below a place of the stack; null where it is complete and of no interest.
PickleMachine::Open* PickleMachine::container_below(std::size_t place, char kind) {
  if (place <= floor() || stack_[place - 1].kind != Value::container) fail("it fills something that is no container");
  const Value known = unpack(objects_[static_cast<std::size_t>(stack_[place - 1].payload)]);
  if (known.kind == Value::other) return nullptr;
  if (known.kind != Value::container) fail("it contains itself, or fills a container after its use: no snapshot does");
  Open& container = open_[static_cast<std::size_t>(known.payload)];
  if (container.kind != kind) fail("it fills a list like a dictionary, or the reverse: not a valid pickle");
  return &container;
}

PickleMachine::Open* PickleMachine::open_container(Value value) {
  if (value.kind != Value::container) return nullptr;
  const Value known = unpack(objects_[static_cast<std::size_t>(value.payload)]);
  return known.kind == Value::container ? &open_[static_cast<std::size_t>(known.payload)] : nullptr;
}

void PickleMachine::append(std::size_t place, std::span<const Value> values) {
  Open* list = container_below(place, 'l');
  if (list != nullptr) list->items.insert(list->items.end(), values.begin(), values.end());
}

void PickleMachine::set(std::size_t place, std::span<const Value> values) {
  if (values.size() % 2 != 0) fail("a key has no value: not a valid pickle");
  Open* dictionary = container_below(place, 'd');
  if (dictionary == nullptr) return;
  if (dictionary->items.empty() && values.size() > 2) {
    // Written in one go (up to 1000 keys are): complete, so that a list of many does not keep them all open.
    close(*dictionary, builder_.dictionary(values));
  } else {
    dictionary->items.insert(dictionary->items.end(), values.begin(), values.end());
  }
}

void PickleMachine::long_integer(std::size_t count) {
  const std::string_view digits = take(count);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < digits.size() && i < 8; ++i)
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(digits[i])) << (8 * i);
  bool small = count <= 8;
  if (count == 9) small = digits[8] == 0 && value >> 63 == 0;
  const bool negative = count > 0 && (static_cast<unsigned char>(digits[count - 1]) & 0x80) != 0;
  if (negative && count < 8) value |= ~std::uint64_t{0} << (8 * count);
  // No size, address or time has more than 63 bits; what has is kept as "something", and refused where it matters.
  small ? push(Value::integer, static_cast<std::int64_t>(value)) : push(Value::other);
}

void PickleMachine::decimal(std::string_view text) {
  if (text.ends_with('L')) text.remove_suffix(1);
  if (text == "00" || text == "01") return push(Value::truth, text == "01");
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  error == std::errc{} && end == text.data() + text.size() ? push(Value::integer, value) : push(Value::other);
}

void PickleMachine::memoize(std::size_t index) {
  if (stack_.empty()) fail("it remembers a value from an empty stack: not a valid pickle");
  // Whoever writes a memo entry has spent bytes on it, so this bounds the memo by the file.
  if (index > at_) fail("a memo index is absurd");
  if (index >= memo_.size()) memo_.resize(index + 1);
  const Value& value = stack_.back();
  const bool fits = value.kind != Value::integer || (value.payload << 8) >> 8 == value.payload;
  memo_[index] = pack(fits ? value : Value{Value::other, 0});
}

void PickleMachine::recall(std::size_t index) {
  if (index >= memo_.size()) fail("it recalls a memo entry that was never made: not a valid pickle");
  push(unpack(memo_[index]));
}

}  // namespace athanor::allocator
