#pragma once
#include <cstdint>
#include <string_view>

namespace athanor::rehearse::phantom {

/// How many of `of` elements an operator selects by their values: at most as many as Options::selected says. Throws,
/// naming the operator, where nobody has said.
[[nodiscard]] std::int64_t selected(std::string_view op, std::int64_t of);

/// While it lives, all that could be selected on this thread is: where an upper bound lies in the nature of things.
class AllSelected {
 public:
  AllSelected();
  ~AllSelected();
  AllSelected(const AllSelected&) = delete;
  AllSelected& operator=(const AllSelected&) = delete;
};

}  // namespace athanor::rehearse::phantom
