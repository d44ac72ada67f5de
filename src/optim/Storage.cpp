#include "athanor/optim/Storage.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <stdexcept>

#include "athanor/core/Nearest.h"

namespace athanor::optim {
namespace {

void one_of(const char* kind, const char* name, const std::string& value, std::span<const std::string> allowed) {
  for (const auto& each : allowed)
    if (value == each) return;
  throw std::invalid_argument(fmt::format("{}: {} must be one of {}, got '{}'{}", kind, name, fmt::join(allowed, ", "),
                                          value, core::suggestion(value, allowed)));
}

}  // namespace

void Storage::visit(Fields& fields) {
  fields.field("states", states);
  fields.field("rounding", rounding);
  fields.field("rounding_seed", seed);
}

void Storage::check(const char* kind) const {
  static const std::array<std::string, 3> all_states = {"same", "fp32", "8bit"};
  static const std::array<std::string, 3> all_roundings = {"nearest", "stochastic", "kahan"};
  one_of(kind, "states", states, all_states);
  one_of(kind, "rounding", rounding, all_roundings);
}

}  // namespace athanor::optim
