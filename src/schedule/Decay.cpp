#include "athanor/schedule/Decay.h"

#include <algorithm>
#include <numbers>

#include "schedule/Rule.h"

namespace athanor::schedule {
namespace {

using std::numbers::pi;

double cosine(double from, double to, double angle) {
  return to + (from - to) * (1.0 + std::cos(angle)) / 2.0;
}

// The period that holds step t, and the steps since it began. At most 63 rounds where periods grow.
struct Period {
  std::int64_t begin;
  std::int64_t length;
};
Period period_of(std::int64_t t, std::int64_t t_0, std::int64_t t_mult) {
  if (t_mult == 1) return {t - t % t_0, t_0};
  Period period{0, t_0};
  while (t - period.begin >= period.length) {
    period.begin += period.length;
    period.length = saturating_multiply(period.length, t_mult);
  }
  return period;
}

}  // namespace

Schedule step(StepOptions options) {
  const auto [step_size, gamma] = options;
  require(step_size > 0, "step", "step_size", "> 0", step_size);
  require(std::isfinite(gamma) && gamma >= 0.0, "step", "gamma", ">= 0", gamma);
  return make({.name = "step", .horizon = saturating_multiply(5, step_size)},
              [step_size = step_size, gamma = gamma](std::int64_t t, double base_lr) {
                return base_lr * std::pow(gamma, static_cast<double>(t / step_size));
              });
}

Schedule multi_step(MultiStepOptions options) {
  auto& milestones = options.milestones;
  const double gamma = options.gamma;
  require(std::isfinite(gamma) && gamma >= 0.0, "multi_step", "gamma", ">= 0", gamma);
  if (milestones.empty())
    throw std::invalid_argument("schedule::multi_step: milestones must hold at least one step, got none");
  std::sort(milestones.begin(), milestones.end());
  require(milestones.front() >= 0, "multi_step", "milestones", ">= 0", milestones.front());
  Traits traits{.name = "multi_step", .horizon = saturating_add(milestones.back(), milestones.back() / 4 + 1)};
  for (const auto milestone : milestones)
    traits.landmarks.push_back({milestone, fmt::format("multi_step: milestone {}", milestone)});
  return make(std::move(traits), [milestones, gamma](std::int64_t t, double base_lr) {
    const auto passed = std::upper_bound(milestones.begin(), milestones.end(), t) - milestones.begin();
    return base_lr * std::pow(gamma, static_cast<double>(passed));
  });
}

Schedule constant(ConstantOptions options) {
  const auto [factor, total_iters] = options;
  require(factor >= 0.0 && factor <= 1.0, "constant", "factor", "in [0, 1]", factor);
  require(total_iters >= 0, "constant", "total_iters", ">= 0", total_iters);
  return make({.name = "constant", .horizon = saturating_add(saturating_multiply(2, total_iters), 1)},
              [factor = factor, total_iters = total_iters](std::int64_t t, double base_lr) {
                return t < total_iters ? base_lr * factor : base_lr;
              });
}

Schedule linear(LinearOptions options) {
  const auto [start, end, total_iters] = options;
  require(start > 0.0 && start <= 1.0, "linear", "start_factor", "in (0, 1]", start);
  require(end >= 0.0 && end <= 1.0, "linear", "end_factor", "in [0, 1]", end);
  require(total_iters >= 0, "linear", "total_iters", ">= 0", total_iters);
  return make({.name = "linear", .horizon = saturating_add(saturating_multiply(2, total_iters), 1)},
              [start = start, end = end, total_iters = total_iters](std::int64_t t, double base_lr) {
                if (t >= total_iters) return base_lr * end;
                return base_lr * (start + (end - start) * static_cast<double>(t) / static_cast<double>(total_iters));
              });
}

Schedule exponential(ExponentialOptions options) {
  const double gamma = options.gamma;
  require(std::isfinite(gamma) && gamma > 0.0, "exponential", "gamma", "> 0", gamma);
  return make({.name = "exponential"},
              [gamma](std::int64_t t, double base_lr) { return base_lr * std::pow(gamma, static_cast<double>(t)); });
}

Schedule polynomial(PolynomialOptions options) {
  const auto [total_iters, power] = options;
  require(total_iters > 0, "polynomial", "total_iters", "> 0", total_iters);
  require(std::isfinite(power) && power > 0.0, "polynomial", "power", "> 0", power);
  return make({.name = "polynomial", .horizon = saturating_add(total_iters, total_iters / 4 + 1)},
              [total = total_iters, power = power](std::int64_t t, double base_lr) {
                return base_lr *
                       std::pow(1.0 - static_cast<double>(std::min(t, total)) / static_cast<double>(total), power);
              });
}

Schedule cosine_annealing(CosineAnnealingOptions options) {
  const auto [t_max, eta_min] = options;
  require(t_max > 0, "cosine_annealing", "t_max", "> 0", t_max);
  require_floor("cosine_annealing", eta_min);
  return make({.name = "cosine_annealing", .floor = eta_min, .horizon = saturating_add(t_max, 1)},
              [t_max = t_max, eta_min = eta_min](std::int64_t t, double base_lr) {
                return cosine(base_lr, eta_min, pi * static_cast<double>(t) / static_cast<double>(t_max));
              });
}

Schedule cosine_annealing_warm_restarts(CosineAnnealingWarmRestartsOptions options) {
  constexpr auto kKind = "cosine_annealing_warm_restarts";
  const auto [t_0, t_mult, eta_min] = options;
  require(t_0 > 0, kKind, "t_0", "> 0", t_0);
  require(t_mult >= 1, kKind, "t_mult", ">= 1", t_mult);
  require_floor(kKind, eta_min);
  const auto second = saturating_multiply(t_0, t_mult);
  const auto horizon = saturating_add(saturating_add(t_0, second), saturating_multiply(second, t_mult));
  return make({.name = kKind, .floor = eta_min, .horizon = horizon}, [t_0 = t_0, t_mult = t_mult, eta_min = eta_min](
                                                                         std::int64_t t, double base_lr) {
    const Period period = period_of(t, t_0, t_mult);
    return cosine(base_lr, eta_min, pi * static_cast<double>(t - period.begin) / static_cast<double>(period.length));
  });
}

Schedule swa(SwaOptions options) {
  const auto [swa_lr, anneal_epochs, strategy] = options;
  require(std::isfinite(swa_lr) && swa_lr > 0.0, "swa", "swa_lr", "> 0", swa_lr);
  require(anneal_epochs >= 0, "swa", "anneal_epochs", ">= 0", anneal_epochs);
  return make({.name = "swa", .horizon = saturating_add(saturating_multiply(2, anneal_epochs), 1)},
              [swa_lr = swa_lr, epochs = anneal_epochs, strategy = strategy](std::int64_t t, double base_lr) {
                if (t >= epochs) return swa_lr;
                const double progress = static_cast<double>(t) / static_cast<double>(epochs);
                const double alpha = strategy == Anneal::cos ? (1.0 - std::cos(pi * progress)) / 2.0 : progress;
                return swa_lr * alpha + base_lr * (1.0 - alpha);
              });
}

}  // namespace athanor::schedule
