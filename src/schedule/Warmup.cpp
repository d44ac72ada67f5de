#include "athanor/schedule/Warmup.h"

#include <algorithm>
#include <numbers>

#include "schedule/Rule.h"

namespace athanor::schedule {
namespace {

using std::numbers::pi;

struct Span {
  std::int64_t warmup_steps;
  std::int64_t total_steps;
};

void require_span(const std::string& kind, const Span& span, double eta_min) {
  require(span.warmup_steps >= 0, kind, "warmup_steps", ">= 0", span.warmup_steps);
  require(span.total_steps > span.warmup_steps, kind, "total_steps",
          fmt::format("> warmup_steps ({})", span.warmup_steps), span.total_steps);
  require_floor(kind, eta_min);
}

// Warm-up, then a fall from base_lr to the floor along `shape`, which maps progress 0 … 1 to 1 … 0.
template <class Shape>
Schedule warmup_then(const std::string& kind, Span span, double eta_min, Shape shape) {
  require_span(kind, span, eta_min);
  return make({.name = kind, .floor = eta_min, .horizon = saturating_add(span.total_steps, 1)},
              [span, eta_min, shape](std::int64_t t, double base_lr) {
                if (t < span.warmup_steps) return base_lr * warmup_factor(t, span.warmup_steps);
                if (t >= span.total_steps) return eta_min;
                const double progress = static_cast<double>(t - span.warmup_steps) /
                                        static_cast<double>(span.total_steps - span.warmup_steps);
                return eta_min + (base_lr - eta_min) * shape(progress);
              });
}

double half_cosine(double progress) {
  return (1.0 + std::cos(pi * progress)) / 2.0;
}

}  // namespace

Schedule linear_warmup(LinearWarmupOptions options) {
  const auto steps = options.steps;
  require(steps >= 0, "linear_warmup", "steps", ">= 0", steps);
  if (options.start_factor)
    require(*options.start_factor >= 0.0 && *options.start_factor <= 1.0, "linear_warmup", "start_factor", "in [0, 1]",
            *options.start_factor);
  return make({.name = "linear_warmup", .horizon = saturating_add(saturating_multiply(2, steps), 1)},
              [steps, start = options.start_factor](std::int64_t t, double base_lr) {
                if (t >= steps - 1) return base_lr;
                if (!start) return base_lr * warmup_factor(t, steps);
                return base_lr * (*start + (1.0 - *start) * static_cast<double>(t) / static_cast<double>(steps - 1));
              });
}

Schedule warmup_cosine(WarmupDecayOptions options) {
  return warmup_then("warmup_cosine", {options.warmup_steps, options.total_steps}, options.eta_min, half_cosine);
}

Schedule warmup_linear(WarmupDecayOptions options) {
  return warmup_then("warmup_linear", {options.warmup_steps, options.total_steps}, options.eta_min,
                     [](double progress) { return 1.0 - progress; });
}

Schedule warmup_polynomial(WarmupPolynomialOptions options) {
  const double power = options.power;
  require(std::isfinite(power) && power > 0.0, "warmup_polynomial", "power", "> 0", power);
  return warmup_then("warmup_polynomial", {options.warmup_steps, options.total_steps}, options.eta_min,
                     [power](double progress) { return std::pow(1.0 - progress, power); });
}

Schedule inverse_sqrt(InverseSqrtOptions options) {
  const auto warmup = options.warmup_steps;
  require(warmup >= 0, "inverse_sqrt", "warmup_steps", ">= 0", warmup);
  const auto peak = std::max<std::int64_t>(warmup, 1);  // the step after which it falls
  const auto timescale = options.timescale.value_or(peak);
  require(timescale > 0, "inverse_sqrt", "timescale", "> 0", timescale);
  return make({.name = "inverse_sqrt", .horizon = saturating_multiply(10, std::max(peak, timescale))},
              [warmup, peak, scale = static_cast<double>(timescale)](std::int64_t t, double base_lr) {
                if (t < warmup) return base_lr * warmup_factor(t, warmup);
                return base_lr * std::sqrt(scale / (static_cast<double>(t + 1 - peak) + scale));
              });
}

Schedule warmup_stable_decay(WarmupStableDecayOptions options) {
  constexpr auto kKind = "warmup_stable_decay";
  const auto [warmup, stable, decay, shape, eta_min] = options;
  require(warmup >= 0, kKind, "warmup_steps", ">= 0", warmup);
  require(stable >= 0, kKind, "stable_steps", ">= 0", stable);
  require(decay >= 0, kKind, "decay_steps", ">= 0", decay);
  require_floor(kKind, eta_min);
  const auto begin = saturating_add(warmup, stable);
  const auto total = saturating_add(begin, decay);
  return make({.name = kKind, .floor = eta_min, .horizon = saturating_add(total, 1)},
              [warmup = warmup, begin, total, shape = shape, eta_min = eta_min](std::int64_t t, double base_lr) {
                if (t < warmup) return base_lr * warmup_factor(t, warmup);
                if (t < begin) return base_lr;
                if (t >= total) return eta_min;
                const double progress = static_cast<double>(t - begin) / static_cast<double>(total - begin);
                const double left = shape == DecayShape::linear   ? 1.0 - progress
                                    : shape == DecayShape::cosine ? half_cosine(progress)
                                                                  : 1.0 - std::sqrt(progress);
                return eta_min + (base_lr - eta_min) * left;
              });
}

Schedule cosine_hard_restarts(CosineHardRestartsOptions options) {
  constexpr auto kKind = "cosine_hard_restarts";
  const auto [warmup, total, cycles, eta_min] = options;
  require_span(kKind, {warmup, total}, eta_min);
  const auto length = total - warmup;
  const auto most = std::min(length, INT64_MAX / length);  // so that no product below overflows
  require(cycles >= 1 && cycles <= most, kKind, "cycles", fmt::format("in [1, {}]", most), cycles);
  return make(
      {.name = kKind, .floor = eta_min, .horizon = saturating_add(total, 1)},
      [warmup = warmup, total = total, cycles = cycles, length, eta_min = eta_min](std::int64_t t, double base_lr) {
        if (t < warmup) return base_lr * warmup_factor(t, warmup);
        if (t >= total) return eta_min;
        // In whole numbers, so that a restart falls on its step exactly.
        const auto turned = (t - warmup) * cycles % length;
        const double progress = static_cast<double>(turned) / static_cast<double>(length);
        return eta_min + (base_lr - eta_min) * half_cosine(progress);
      });
}

Schedule tanh_decay(TanhDecayOptions options) {
  constexpr auto kKind = "tanh_decay";
  const auto [total, lower, upper, eta_min] = options;
  require(total > 0, kKind, "total_steps", "> 0", total);
  require(std::isfinite(lower), kKind, "lower", "a number", lower);
  require(std::isfinite(upper) && upper > lower, kKind, "upper", "> lower", upper);
  require_floor(kKind, eta_min);
  return make({.name = kKind, .floor = eta_min, .horizon = saturating_add(total, 1)},
              [total = total, lower = lower, upper = upper, eta_min = eta_min](std::int64_t t, double base_lr) {
                const double progress = static_cast<double>(std::min(t, total)) / static_cast<double>(total);
                return eta_min + (base_lr - eta_min) * (1.0 - std::tanh(lower + (upper - lower) * progress)) / 2.0;
              });
}

}  // namespace athanor::schedule
