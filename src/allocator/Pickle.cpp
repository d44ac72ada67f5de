#include "allocator/Pickle.h"

#include <fmt/format.h>

#include <charconv>

#include "allocator/PickleMachine.h"

namespace athanor::allocator {

void PickleMachine::refuse(std::string_view opcode, const std::string& what) const {
  fail(fmt::format("it is refused: {} would execute {}, which no memory snapshot does", opcode, what));
}

void PickleMachine::refuse_import(char opcode) {
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
bool PickleMachine::plain(unsigned char opcode) {
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
void PickleMachine::use_marked(unsigned char opcode) {
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
bool PickleMachine::structure(unsigned char opcode) {
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

bool PickleMachine::memo(unsigned char opcode) {
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

void PickleMachine::unknown(unsigned char opcode) {
  if (std::string_view("ciRbo\x81\x92\x82\x83\x84PQ\x93").find(static_cast<char>(opcode)) != std::string_view::npos)
    refuse_import(static_cast<char>(opcode));
  fail(fmt::format("opcode 0x{:02x} does not occur in memory snapshots", opcode));
}

void PickleMachine::step(unsigned char opcode) {
  if (memo(opcode) || plain(opcode) || structure(opcode)) return;
  if (opcode == 0x95) {  // FRAME: only says how long the next piece is
    (void)number<std::uint64_t>();
    return;
  }
  if (opcode == 0x80) {
    if (const auto version = number<std::uint8_t>(); version > 5)
      fail(fmt::format("pickle protocol {} is not known", version));
    return;
  }
  unknown(opcode);
}

void PickleMachine::read(const std::function<void(std::size_t)>& consumed) {
  constexpr std::size_t stretch = std::size_t{4} << 20;
  std::size_t next = consumed ? stretch : ~std::size_t{0};
  while (true) {
    at_opcode_ = at_;
    if (at_ >= next) {
      consumed(at_);
      next = at_ + stretch;
    }
    const unsigned char opcode = number<unsigned char>();
    if (opcode == '.') return;
    try {
      step(opcode);
    } catch (const Located&) {
      throw;
    } catch (const Error& error) {
      fail(error.what());
    }
  }
}

Snapshot PickleMachine::run(const std::function<void(std::size_t)>& consumed) {
  try {
    read(consumed);
  } catch (const Truncated&) {
    const Value outermost = what_is_there();
    if (!SnapshotBuilder::is_snapshot(outermost)) throw;
    return builder_.finish(outermost, Source::pickle, /*truncated=*/true);
  }
  return builder_.finish(complete(pop()), Source::pickle);
}

Snapshot parse_pickle(std::string_view bytes, const std::function<void(std::size_t)>& consumed) {
  return PickleMachine(bytes).run(consumed);
}

}  // namespace athanor::allocator
