#include "allocator/PickleMachine.h"

namespace athanor::allocator {

// The members of a list, up to the one in the making.
std::vector<Value> PickleMachine::siblings(std::span<const Value> values) {
  std::vector<Value> out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Open* open = open_container(values[i]);
    if (i + 1 < values.size() || open == nullptr || open->kind == 'l') out.push_back(complete(values[i]));
  }
  return out;
}

// A container, and behind it what was to go into it.
std::optional<Value> PickleMachine::nested(std::span<const Value> values) {
  if (values.empty()) return std::nullopt;
  Open* open = open_container(values[0]);
  if (open != nullptr && open->kind == 'd') return std::nullopt;
  if (values.size() == 1) return complete(values[0]);
  if (open == nullptr) return std::nullopt;
  const std::optional<Value> inner = nested(values.subspan(1));
  open = open_container(values[0]);
  if (inner && open != nullptr) open->items.push_back(*inner);
  return complete(values[0]);
}

// Keys and values of the outermost dictionary; the last value may be in the making.
std::vector<Value> PickleMachine::pairs(std::span<const Value> values) {
  std::vector<Value> out;
  for (std::size_t i = 0; i + 1 < values.size() && values[i].kind == Value::text;) {
    std::size_t end = i + 2;
    while (end < values.size() && values[end].kind != Value::text) ++end;
    const auto value =
        end < values.size() ? std::optional(complete(values[i + 1])) : nested(values.subspan(i + 1, end - i - 1));
    if (value) {
      out.push_back(values[i]);
      out.push_back(*value);
    }
    i = end;
  }
  return out;
}

Value PickleMachine::what_is_there() {
  while (!marks_.empty()) {
    const std::size_t place = marks_.back();
    const std::vector<Value> above(stack_.begin() + static_cast<std::ptrdiff_t>(place), stack_.end());
    stack_.resize(place);
    marks_.pop_back();
    const Open* below = place > floor() ? open_container(stack_[place - 1]) : nullptr;
    if (below == nullptr) continue;
    if (below->kind == 'l')
      append(place, siblings(above));
    else if (place == 1)
      set(place, pairs(above));
    else
      stack_.pop_back();
  }
  if (stack_.empty()) return {};
  const Open* outermost = open_container(stack_[0]);
  if (outermost == nullptr || outermost->kind == 'l') return nested(stack_).value_or(Value{});
  if (stack_.size() > 2 && stack_[1].kind == Value::text) {
    const Value key = stack_[1];
    if (const auto value = nested(std::span(stack_).subspan(2))) set(1, std::vector{key, *value});
  }
  return complete(stack_[0]);
}

}  // namespace athanor::allocator
