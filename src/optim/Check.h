#pragma once
#include <fmt/format.h>

#include <array>
#include <stdexcept>

namespace athanor::optim {

/// Checks of settings; each throws "adamw: eps must be >= 0, got -1". The comparisons are false for NaN, so NaN is
/// refused.
inline void require(bool fine, const char* kind, const char* name, const char* range, double value) {
  if (!fine) throw std::invalid_argument(fmt::format("{}: {} must be {}, got {}", kind, name, range, value));
}
inline void at_least_0(const char* kind, const char* name, double value) {
  require(value >= 0, kind, name, ">= 0", value);
}
inline void in_unit(const char* kind, const char* name, double value) {
  require(value >= 0 && value < 1, kind, name, "in [0, 1)", value);
}
template <std::size_t N>
void check_betas(const char* kind, const std::array<double, N>& betas) {
  for (std::size_t i = 0; i < N; ++i) in_unit(kind, fmt::format("betas[{}]", i).c_str(), betas[i]);
}

}  // namespace athanor::optim
