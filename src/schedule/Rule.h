#pragma once
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "athanor/schedule/Schedule.h"

namespace athanor::schedule {

/// A step at which something of a schedule happens, and the setting that says so.
struct Landmark {
  std::int64_t step = 0;
  std::string setting = {};  // "multi_step: milestone 80"
};

/// What is known of a schedule without asking it for a rate.
struct Traits {
  std::string name = {};
  double floor = 0.0;  // a base rate below it would be raised: a mistake
  std::optional<std::int64_t> last_step = std::nullopt;
  bool moves_momentum = false;
  std::int64_t horizon = 100;
  std::vector<Landmark> landmarks = {};
};

struct Rule {
  explicit Rule(Traits given) : traits(std::move(given)) {}
  virtual ~Rule() = default;
  Rule(const Rule&) = delete;
  Rule& operator=(const Rule&) = delete;
  /// `step` and `base_lr` have been checked.
  [[nodiscard]] virtual Point at(std::int64_t step, double base_lr) const = 0;
  const Traits traits;
};

/// Makes a schedule of a callable (step, base_lr) -> double or Point.
template <class Rate>
Schedule make(Traits traits, Rate rate) {
  struct Made final : Rule {
    Made(Traits given, Rate callable) : Rule(std::move(given)), rate(std::move(callable)) {}
    Point at(std::int64_t step, double base_lr) const override { return Point(rate(step, base_lr)); }
    Rate rate;
  };
  return Schedule(std::make_shared<const Made>(std::move(traits), std::move(rate)));
}

/// The one way a setting is refused: "schedule::step: step_size must be > 0, got -2".
template <class Value>
void require(bool holds, std::string_view kind, std::string_view setting, std::string_view allowed,
             const Value& given) {
  if (!holds)
    throw std::invalid_argument(fmt::format("schedule::{}: {} must be {}, got {}", kind, setting, allowed, given));
}

inline void require_floor(std::string_view kind, double eta_min) {
  require(std::isfinite(eta_min) && eta_min >= 0.0, kind, "eta_min", ">= 0", eta_min);
}

/// a + b for counts that are not negative; the largest number instead of an overflow.
inline std::int64_t saturating_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}
inline std::int64_t saturating_multiply(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

/// The factor of a warm-up of `steps` steps at a step before its end.
inline double warmup_factor(std::int64_t step, std::int64_t steps) {
  return static_cast<double>(step + 1) / static_cast<double>(steps);
}

}  // namespace athanor::schedule
