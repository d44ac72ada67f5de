#pragma once
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "allocator/SnapshotBuilder.h"
#include "athanor/core/Error.h"

namespace athanor::allocator {

/// An error that says already where it is.
struct Located : Error {
  using Error::Error;
};

/// The file ends before its pickle does.
struct Truncated : Located {
  using Located::Located;
};

/// The pickle machine: a stack, marks, a memo. Containers stay open until they are put into another one.
class PickleMachine {
 public:
  explicit PickleMachine(std::string_view bytes) : bytes_(bytes) { builder_.expect(bytes.size()); }
  Snapshot run(const std::function<void(std::size_t)>& consumed);

 private:
  static constexpr std::size_t deepest = 64;

  struct Open {
    char kind = 'l';  // l list, d dictionary
    std::vector<Value> items;
    std::size_t object = 0;
  };

  [[noreturn]] void fail(const std::string& what) const;
  [[noreturn]] void refuse(std::string_view opcode, const std::string& what) const;
  [[noreturn]] void end_early() const;

  std::string_view take(std::size_t count) {
    if (count > bytes_.size() - at_) end_early();
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
    if (end == std::string_view::npos) end_early();
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
  void read(const std::function<void(std::size_t)>& consumed);

  // Where the file ends too early: what is complete goes where it belongs, lists as far as they reach. A dictionary in
  // the making is left out, except the outermost.
  Value what_is_there();
  Open* open_container(Value value);
  std::vector<Value> siblings(std::span<const Value> values);
  std::vector<Value> pairs(std::span<const Value> values);
  std::optional<Value> nested(std::span<const Value> values);

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

}  // namespace athanor::allocator
