#include "athanor/schedule/Cyclic.h"

#include <array>
#include <numbers>

#include "schedule/Rule.h"

namespace athanor::schedule {
namespace {

void require_momenta(const char* kind, double base, double top) {
  require(base >= 0.0 && base <= 1.0, kind, "base_momentum", "in [0, 1]", base);
  require(top >= base && top <= 1.0, kind, "max_momentum", "in [base_momentum, 1]", top);
}

double anneal(Anneal strategy, double from, double to, double progress) {
  if (strategy == Anneal::linear) return (to - from) * progress + from;
  return to + (from - to) / 2.0 * (std::cos(std::numbers::pi * progress) + 1.0);
}

// Where step t lies: which cycle (from 1), and how high in it (0 … 1).
struct CyclePosition {
  double cycle;
  double height;
};
CyclePosition position(std::int64_t t, double total, double ratio) {
  const double turns = static_cast<double>(t) / total;
  const double cycle = std::floor(1.0 + turns);
  const double x = 1.0 + turns - cycle;
  return {cycle, x <= ratio ? x / ratio : (x - 1.0) / (ratio - 1.0)};
}

double cycle_scale(const CyclicOptions& options, double cycle, double t) {
  if (options.scale_fn) return options.scale_fn(options.scale_mode == ScaleMode::cycle ? cycle : t);
  switch (options.mode) {
    case CyclicMode::triangular:
      return 1.0;
    case CyclicMode::triangular2:
      return std::pow(2.0, 1.0 - cycle);
    case CyclicMode::exp_range:
      return std::pow(options.gamma, t);
  }
  return 1.0;
}

// Steps between which a one_cycle goes from one rate to another. The ends are fractional, as PyTorch's are.
struct Phase {
  double end;
  int from, to;              // indices into {first, peak, last}
  bool momentum_up = false;  // from base_momentum to max_momentum
  bool momentum_still = false;
};
struct Phases {
  std::array<Phase, 3> phases;
  std::size_t count;
};

Phases phases_of(const OneCycleOptions& options) {
  const auto total = static_cast<double>(options.total_steps);
  const double rise = options.pct_start * total - 1.0;
  if (!options.three_phase) return {{{{rise, 0, 1}, {total - 1.0, 1, 2, true}, {}}}, 2};
  const double fall = 2.0 * options.pct_start * total - 2.0;
  return {{{{rise, 0, 1}, {fall, 1, 0, true}, {total - 1.0, 0, 2, false, true}}}, 3};
}

struct Where {
  Phase phase;
  double progress;
};
Where locate(const Phases& phases, double t, double total) {
  const Phase& last = phases.phases[phases.count - 1];
  if (t >= total) return {last, 1.0};
  double start = 0.0;
  for (std::size_t i = 0; i < phases.count; ++i) {
    const Phase& phase = phases.phases[i];
    // A phase without length is over as it begins.
    if (t <= phase.end || i + 1 == phases.count)
      return {phase, phase.end > start ? (t - start) / (phase.end - start) : 1.0};
    start = phase.end;
  }
  return {last, 1.0};
}

}  // namespace

Schedule cyclic(CyclicOptions options) {
  constexpr auto kKind = "cyclic";
  const double low = options.base_lr.value_or(0.0);
  require(std::isfinite(low) && low >= 0.0, kKind, "base_lr", ">= 0", low);
  require(std::isfinite(options.max_lr) && options.max_lr > low, kKind, "max_lr", "> base_lr", options.max_lr);
  require(options.step_size_up > 0, kKind, "step_size_up", "> 0", options.step_size_up);
  const auto down_steps = options.step_size_down.value_or(options.step_size_up);
  require(down_steps > 0, kKind, "step_size_down", "> 0", down_steps);
  require(std::isfinite(options.gamma) && options.gamma > 0.0, kKind, "gamma", "> 0", options.gamma);
  if (options.cycle_momentum) require_momenta(kKind, options.base_momentum, options.max_momentum);
  const auto up = static_cast<double>(options.step_size_up);
  const double total = up + static_cast<double>(down_steps);
  Traits traits{.name = kKind,
                .moves_momentum = options.cycle_momentum,
                .horizon = saturating_multiply(3, saturating_add(options.step_size_up, down_steps))};
  return make(std::move(traits), [options, total, ratio = up / total](std::int64_t t, double group_lr) {
    const double base = options.base_lr.value_or(group_lr);
    if (base >= options.max_lr)
      throw std::invalid_argument(
          fmt::format("schedule::cyclic: max_lr must be above the base rate {}, got {}", base, options.max_lr));
    const auto [cycle, height] = position(t, total, ratio);
    const double scale = cycle_scale(options, cycle, static_cast<double>(t));
    Point point{base + (options.max_lr - base) * height * scale, std::nullopt};
    if (options.cycle_momentum)
      point.momentum = options.max_momentum - (options.max_momentum - options.base_momentum) * height * scale;
    return point;
  });
}

Schedule one_cycle(OneCycleOptions options) {
  constexpr auto kKind = "one_cycle";
  if (options.max_lr)
    require(std::isfinite(*options.max_lr) && *options.max_lr > 0.0, kKind, "max_lr", "> 0", *options.max_lr);
  require(options.total_steps > 0, kKind, "total_steps", "> 0", options.total_steps);
  require(options.pct_start >= 0.0 && options.pct_start <= 1.0, kKind, "pct_start", "in [0, 1]", options.pct_start);
  require(std::isfinite(options.div_factor) && options.div_factor > 0.0, kKind, "div_factor", "> 0",
          options.div_factor);
  require(std::isfinite(options.final_div_factor) && options.final_div_factor > 0.0, kKind, "final_div_factor", "> 0",
          options.final_div_factor);
  if (options.cycle_momentum) require_momenta(kKind, options.base_momentum, options.max_momentum);
  Traits traits{.name = kKind,
                .last_step = options.total_steps,
                .moves_momentum = options.cycle_momentum,
                .horizon = options.total_steps};
  return make(std::move(traits), [options, phases = phases_of(options)](std::int64_t t, double group_lr) {
    const double peak = options.max_lr.value_or(group_lr);
    const double first = peak / options.div_factor;
    const std::array<double, 3> rates{first, peak, first / options.final_div_factor};
    const auto [phase, progress] = locate(phases, static_cast<double>(t), static_cast<double>(options.total_steps));
    const auto rate = [&](int i) { return rates[static_cast<std::size_t>(i)]; };
    Point point{anneal(options.anneal_strategy, rate(phase.from), rate(phase.to), progress), std::nullopt};
    if (!options.cycle_momentum) return point;
    const double low = options.base_momentum;
    const double top = options.max_momentum;
    point.momentum = phase.momentum_still ? top
                                          : anneal(options.anneal_strategy, phase.momentum_up ? low : top,
                                                   phase.momentum_up ? top : low, progress);
    return point;
  });
}

}  // namespace athanor::schedule
