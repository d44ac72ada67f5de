#include "allocator/Pickle.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <vector>

#include "allocator/SnapshotBuilder.h"
#include "athanor/core/Error.h"

namespace athanor::allocator {
namespace {

constexpr std::size_t deepest = 64;

/// An error that says already where it is.
struct Located : Error {
  using Error::Error;
};

/// The pickle machine: a stack, marks, a memo. Containers stay open until they are put into another one.
class Machine {
 public:
  explicit Machine(std::string_view bytes) : bytes_(bytes) { builder_.expect(bytes.size()); }
  Snapshot run(const std::function<void(std::size_t)>& consumed);

 private:
  struct Open {
    char kind = 'l';  // l list, d dictionary
    std::vector<Value> items;
    std::size_t object = 0;
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw Located(fmt::format("{} (at byte {})", what, at_opcode_));
  }
  [[noreturn]] void refuse(std::string_view opcode, const std::string& what) const {
    fail(fmt::format("it is refused: {} would execute {}, which no memory snapshot does", opcode, what));
  }

  std::string_view take(std::size_t count) {
    if (count > bytes_.size() - at_) fail("it ends in the middle: the file is truncated");
    const std::string_view piece = bytes_.substr(at_, count);
    at_ += count;
    return piece;
  }
  template <class Integer>
  Integer number() {
    Integer value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view line() {
    const auto end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) fail("it ends in the middle: the file is truncated");
    std::string_view piece = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    if (piece.ends_with('\r')) piece.remove_suffix(1);
    return piece;
  }

  void push(Value value) { stack_.push_back(value); }
  void push(Value::Kind kind, std::int64_t payload = 0) { stack_.push_back({kind, payload}); }
  Value pop() {
    if (stack_.size() <= floor()) fail("it takes a value from an empty stack: not a valid pickle");
    const Value value = stack_.back();
    stack_.pop_back();
    return value;
  }
  [[nodiscard]] std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  /// What stands above the topmost mark, complete. The mark goes; the values stay on the stack until they were used.
  std::span<const Value> above_mark();
  void open(char kind);
  Open* container_below(std::size_t place, char kind);
  Value complete(Value value) { return value.kind == Value::container ? complete_container(value) : value; }
  Value complete_container(Value value);
  void close(Open& container, Value meaning);
  void append(std::size_t place, std::span<const Value> values);
  void set(std::size_t place, std::span<const Value> values);
  void long_integer(std::size_t count);
  void decimal(std::string_view text);
  void memoize(std::size_t index);
  void recall(std::size_t index);
  [[noreturn]] void refuse_import(char opcode);
  void step(unsigned char opcode);
  bool plain(unsigned char opcode);
  bool structure(unsigned char opcode);
  void use_marked(unsigned char opcode);
  bool memo(unsigned char opcode);
  [[noreturn]] void unknown(unsigned char opcode);

  std::string_view bytes_;
  std::size_t at_ = 0, at_opcode_ = 0;
  std::vector<Value> stack_;
  std::vector<std::size_t> marks_;
  std::vector<std::uint64_t> memo_;     // kind in the top byte, payload below
  std::vector<std::uint64_t> objects_;  // containers, by number: likewise, once complete
  std::vector<Open> open_;              // those that are not
  std::vector<std::size_t> spare_;      // unused places in open_
  SnapshotBuilder builder_;
};

constexpr std::uint64_t payload_mask = (std::uint64_t{1} << 56) - 1;

std::uint64_t pack(Value value) {
  return static_cast<std::uint64_t>(value.kind) << 56 | (static_cast<std::uint64_t>(value.payload) & payload_mask);
}

Value unpack(std::uint64_t packed) {
  // Shifted back as a signed number, so that small negative payloads survive.
  return {static_cast<Value::Kind>(packed >> 56), static_cast<std::int64_t>(packed << 8) >> 8};
}

void Machine::open(char kind) {
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

Value Machine::complete_container(Value value) {
  const Value known = unpack(objects_[static_cast<std::size_t>(value.payload)]);
  if (known.kind != Value::container) return known;
  Open& container = open_[static_cast<std::size_t>(known.payload)];
  const Value meaning = container.kind == 'd' ? builder_.dictionary(container.items) : builder_.list(container.items);
  close(container, meaning);
  return meaning;
}

void Machine::close(Open& container, Value meaning) {
  objects_[container.object] = pack(meaning);
  container.items.clear();
  if (container.items.capacity() > 4096) container.items.shrink_to_fit();
  spare_.push_back(static_cast<std::size_t>(&container - open_.data()));
}

std::span<const Value> Machine::above_mark() {
  if (marks_.empty()) fail("there is no mark to go back to: not a valid pickle");
  const std::span<Value> values = std::span(stack_).subspan(marks_.back());
  marks_.pop_back();
  for (Value& value : values) value = complete(value);
  return values;
}

/// The open container just below a place of the stack; null where it is complete and of no interest.
Machine::Open* Machine::container_below(std::size_t place, char kind) {
  if (place <= floor() || stack_[place - 1].kind != Value::container)
    fail("it fills something that is no container");
  const Value known = unpack(objects_[static_cast<std::size_t>(stack_[place - 1].payload)]);
  if (known.kind == Value::other) return nullptr;
  if (known.kind != Value::container) fail("it contains itself, or fills a container after its use: no snapshot does");
  Open& container = open_[static_cast<std::size_t>(known.payload)];
  if (container.kind != kind) fail("it fills a list like a dictionary, or the reverse: not a valid pickle");
  return &container;
}

void Machine::append(std::size_t place, std::span<const Value> values) {
  Open* list = container_below(place, 'l');
  if (list != nullptr) list->items.insert(list->items.end(), values.begin(), values.end());
}

void Machine::set(std::size_t place, std::span<const Value> values) {
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

void Machine::long_integer(std::size_t count) {
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

void Machine::decimal(std::string_view text) {
  if (text.ends_with('L')) text.remove_suffix(1);
  if (text == "00" || text == "01") return push(Value::truth, text == "01");
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  error == std::errc{} && end == text.data() + text.size() ? push(Value::integer, value) : push(Value::other);
}

void Machine::memoize(std::size_t index) {
  if (stack_.empty()) fail("it remembers a value from an empty stack: not a valid pickle");
  // Whoever writes a memo entry has spent bytes on it, so this bounds the memo by the file.
  if (index > at_) fail("a memo index is absurd");
  if (index >= memo_.size()) memo_.resize(index + 1);
  const Value& value = stack_.back();
  const bool fits = value.kind != Value::integer || (value.payload << 8) >> 8 == value.payload;
  memo_[index] = pack(fits ? value : Value{Value::other, 0});
}

void Machine::recall(std::size_t index) {
  if (index >= memo_.size()) fail("it recalls a memo entry that was never made: not a valid pickle");
  push(unpack(memo_[index]));
}

void Machine::refuse_import(char opcode) {
  if (opcode == 'c' || opcode == 'i') {
    const std::string module(line().substr(0, 80));
    const std::string name(line().substr(0, 80));
    refuse(opcode == 'c' ? "GLOBAL" : "INST", module + "." + name);
  }
  if (opcode == '\x93') {
    const std::string name = stack_.empty() ? "" : std::string(builder_.text_of(stack_.back()).substr(0, 80));
    const std::string module =
        stack_.size() < 2 ? "" : std::string(builder_.text_of(stack_[stack_.size() - 2]).substr(0, 80));
    refuse("STACK_GLOBAL", module + "." + name);
  }
  const char* names[] = {"REDUCE", "BUILD", "OBJ",  "NEWOBJ", "NEWOBJ_EX",
                         "EXT1",   "EXT2",  "EXT4", "PERSID", "BINPERSID"};
  const std::string_view codes("Rbo\x81\x92\x82\x83\x84PQ", 10);
  refuse(names[codes.find(opcode)], "a call");
}

// Values that stand alone.
bool Machine::plain(unsigned char opcode) {
  switch (opcode) {
    case 'N':
      push(Value::nothing);
      return true;
    case 0x88:
      push(Value::truth, 1);
      return true;
    case 0x89:
      push(Value::truth, 0);
      return true;
    case 'J':
      push(Value::integer, number<std::int32_t>());
      return true;
    case 'K':
      push(Value::integer, number<std::uint8_t>());
      return true;
    case 'M':
      push(Value::integer, number<std::uint16_t>());
      return true;
    case 0x8a:
      long_integer(number<std::uint8_t>());
      return true;
    case 0x8b: {
      const auto count = number<std::int32_t>();
      if (count < 0) fail("a number has a negative length");
      long_integer(static_cast<std::size_t>(count));
      return true;
    }
    case 'I':
    case 'L':
      decimal(line());
      return true;
    case 'F':
      line();
      push(Value::real);
      return true;
    case 'G':
      take(8);
      push(Value::real);
      return true;
    case 0x8c:
      push(Value::text, builder_.text(take(number<std::uint8_t>())));
      return true;
    case 'X':
      push(Value::text, builder_.text(take(number<std::uint32_t>())));
      return true;
    case 0x8d:
      push(Value::text, builder_.text(take(number<std::uint64_t>())));
      return true;
    case 'V':
      push(Value::text, builder_.text(line()));
      return true;
    case 'C':
      take(number<std::uint8_t>());
      push(Value::other);
      return true;
    case 'B':
      take(number<std::uint32_t>());
      push(Value::other);
      return true;
    case 0x8e:
      take(number<std::uint64_t>());
      push(Value::other);
      return true;
    default:
      return false;
  }
}

// What stands above the mark becomes a container, or goes into the one below it.
void Machine::use_marked(unsigned char opcode) {
  const std::span<const Value> values = above_mark();
  const std::size_t place = stack_.size() - values.size();
  Value tuple;
  if (opcode == 't') tuple = builder_.tuple(values);
  if (opcode == 'e') append(place, values);
  if (opcode == 'u') set(place, values);
  if (opcode == 'l' || opcode == 'd') {
    const std::vector<Value> copy(values.begin(), values.end());
    stack_.resize(place);
    open(static_cast<char>(opcode));
    return opcode == 'l' ? append(place + 1, copy) : set(place + 1, copy);
  }
  stack_.resize(place);
  if (opcode == 't') push(tuple);
}

// Containers and what goes into them.
bool Machine::structure(unsigned char opcode) {
  switch (opcode) {
    case '(':
      if (marks_.size() >= deepest) fail("it nests deeper than any snapshot");
      marks_.push_back(stack_.size());
      return true;
    case ']':
      open('l');
      return true;
    case '}':
      open('d');
      return true;
    case 'a': {
      const Value item = complete(pop());
      append(stack_.size(), std::span(&item, 1));
      return true;
    }
    case 's': {
      const Value value = complete(pop());
      const Value pair[2] = {complete(pop()), value};
      set(stack_.size(), pair);
      return true;
    }
    case 'l':
    case 'd':
    case 'e':
    case 'u':
    case 't':
      use_marked(opcode);
      return true;
    case ')':
      push(Value::other);
      return true;
    case 0x85:
    case 0x86:
    case 0x87: {
      const std::size_t count = opcode - 0x84U;
      Value items[3];
      for (std::size_t i = count; i-- > 0;) items[i] = complete(pop());
      push(builder_.tuple(std::span(items, count)));
      return true;
    }
    default:
      return false;
  }
}

bool Machine::memo(unsigned char opcode) {
  switch (opcode) {
    case 0x94:
      memoize(memo_.size());
      return true;
    case 'q':
      memoize(number<std::uint8_t>());
      return true;
    case 'r':
      memoize(number<std::uint32_t>());
      return true;
    case 'h':
      recall(number<std::uint8_t>());
      return true;
    case 'j':
      recall(number<std::uint32_t>());
      return true;
    case 'p':
    case 'g': {
      const std::string_view text = line();
      std::uint32_t index = 0;
      if (std::from_chars(text.data(), text.data() + text.size(), index).ec != std::errc{})
        fail("a memo index is no number");
      opcode == 'p' ? memoize(index) : recall(index);
      return true;
    }
    default:
      return false;
  }
}

void Machine::unknown(unsigned char opcode) {
  if (std::string_view("ciRbo\x81\x92\x82\x83\x84PQ\x93").find(static_cast<char>(opcode)) != std::string_view::npos)
    refuse_import(static_cast<char>(opcode));
  fail(fmt::format("opcode 0x{:02x} does not occur in memory snapshots", opcode));
}

void Machine::step(unsigned char opcode) {
  if (memo(opcode) || plain(opcode) || structure(opcode)) return;
  if (opcode == 0x95) {  // FRAME: only says how long the next piece is
    if (number<std::uint64_t>() > bytes_.size() - at_) fail("it ends in the middle: the file is truncated");
    return;
  }
  if (opcode == 0x80) {
    if (const auto version = number<std::uint8_t>(); version > 5)
      fail(fmt::format("pickle protocol {} is not known", version));
    return;
  }
  unknown(opcode);
}

Snapshot Machine::run(const std::function<void(std::size_t)>& consumed) {
  constexpr std::size_t stretch = std::size_t{4} << 20;
  std::size_t next = consumed ? stretch : ~std::size_t{0};
  while (true) {
    at_opcode_ = at_;
    if (at_ >= next) {
      consumed(at_);
      next = at_ + stretch;
    }
    const unsigned char opcode = number<unsigned char>();
    if (opcode == '.') break;
    try {
      step(opcode);
    } catch (const Located&) {
      throw;
    } catch (const Error& error) {
      fail(error.what());
    }
  }
  const Value outermost = complete(pop());
  return builder_.finish(outermost, Source::pickle);
}

}  // namespace

Snapshot parse_pickle(std::string_view bytes, const std::function<void(std::size_t)>& consumed) {
  return Machine(bytes).run(consumed);
}

}  // namespace athanor::allocator
