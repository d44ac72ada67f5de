#include "athanor/schedule/ReduceOnPlateau.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "schedule/Rule.h"

namespace athanor::schedule {
namespace {

constexpr auto kKind = "reduce_on_plateau";

void require_rate(const char* setting, double rate) {
  require(std::isfinite(rate) && rate >= 0.0, kKind, setting, ">= 0", rate);
}

std::int64_t count_of(const nlohmann::json& state, const char* key) {
  if (!state.contains(key) || !state.at(key).is_number_integer() || state.at(key).get<std::int64_t>() < 0)
    throw std::invalid_argument(fmt::format("schedule::{}: the saved state has no count '{}'", kKind, key));
  return state.at(key).get<std::int64_t>();
}

}  // namespace

ReduceOnPlateau::ReduceOnPlateau(ReduceOnPlateauOptions options) : options_(std::move(options)) {
  require(options_.factor > 0.0 && options_.factor < 1.0, kKind, "factor", "in (0, 1)", options_.factor);
  require(options_.patience >= 0, kKind, "patience", ">= 0", options_.patience);
  require_rate("threshold", options_.threshold);
  require(options_.cooldown >= 0, kKind, "cooldown", ">= 0", options_.cooldown);
  require_rate("min_lr", options_.min_lr);
  for (const double rate : options_.min_lrs) require_rate("min_lrs", rate);
  require_rate("eps", options_.eps);
}

double ReduceOnPlateau::observe(double metric, double lr) {
  observe(metric, std::span(&lr, 1));
  return lr;
}

bool ReduceOnPlateau::observe(double metric, std::span<double> lrs) {
  if (std::isnan(metric))
    throw std::invalid_argument(
        "schedule::reduce_on_plateau: the metric is NaN, which is neither better nor worse; stop the run, or leave the "
        "observation out");
  const bool down = options_.mode == Mode::min;
  if (std::isinf(metric) && (metric < 0) == down)
    throw std::invalid_argument(
        fmt::format("schedule::reduce_on_plateau: the metric is {}, which nothing could improve", metric));
  if (!options_.min_lrs.empty() && options_.min_lrs.size() != lrs.size())
    throw std::invalid_argument(
        fmt::format("schedule::reduce_on_plateau: min_lrs has {} values for {} parameter groups",
                    options_.min_lrs.size(), lrs.size()));
  ++observations_;
  if (improves(metric)) {
    best_ = metric;
    bad_ = 0;
  } else {
    ++bad_;
  }
  if (cooldown_ > 0) {
    --cooldown_;
    bad_ = 0;
  }
  if (bad_ <= options_.patience) return false;
  cooldown_ = options_.cooldown;
  bad_ = 0;
  return reduce(lrs);
}

bool ReduceOnPlateau::improves(double metric) const {
  if (std::isinf(metric)) return false;
  if (!best_) return true;
  const double sign = options_.mode == Mode::min ? -1.0 : 1.0;
  if (options_.threshold_mode == ThresholdMode::abs)
    return sign < 0 ? metric < *best_ - options_.threshold : metric > *best_ + options_.threshold;
  // A part of |best|: with a negative best metric best * (1 - threshold) would lie on the wrong side of it.
  const double bound = *best_ * (1.0 + (*best_ < 0 ? -sign : sign) * options_.threshold);
  return sign < 0 ? metric < bound : metric > bound;
}

bool ReduceOnPlateau::reduce(std::span<double> lrs) const {
  bool any = false;
  for (std::size_t i = 0; i < lrs.size(); ++i) {
    const double floor = options_.min_lrs.empty() ? options_.min_lr : options_.min_lrs[i];
    const double reduced = std::max(lrs[i] * options_.factor, floor);
    if (!(lrs[i] - reduced > options_.eps)) continue;
    if (options_.on_reduction) options_.on_reduction({observations_, i, lrs[i], reduced});
    lrs[i] = reduced;
    any = true;
  }
  return any;
}

nlohmann::json ReduceOnPlateau::state() const {
  return {{"best", best_ ? nlohmann::json(*best_) : nlohmann::json(nullptr)},
          {"observations", observations_},
          {"bad_observations", bad_},
          {"cooldown", cooldown_}};
}

void ReduceOnPlateau::restore(const nlohmann::json& state) {
  if (!state.is_object() || !state.contains("best") || !(state.at("best").is_null() || state.at("best").is_number()))
    throw std::invalid_argument(fmt::format("schedule::{}: the saved state has no 'best'", kKind));
  const auto observations = count_of(state, "observations");
  const auto bad = count_of(state, "bad_observations");
  const auto cooldown = count_of(state, "cooldown");
  best_ = state.at("best").is_null() ? std::nullopt : std::optional(state.at("best").get<double>());
  observations_ = observations;
  bad_ = bad;
  cooldown_ = cooldown;
}

}  // namespace athanor::schedule
