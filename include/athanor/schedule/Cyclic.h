#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "athanor/schedule/Schedule.h"

/// Schedules that go up and down, and move momentum the other way.
namespace athanor::schedule {

enum class CyclicMode { triangular, triangular2, exp_range };
enum class ScaleMode { cycle, iterations };

struct CyclicOptions {
  std::optional<double> base_lr = std::nullopt;               ///< The lower bound; absent: each group's own base rate.
  double max_lr = 0.0;                                        ///< The upper bound; > the lower one.
  std::int64_t step_size_up = 2000;                           ///< Steps up; > 0.
  std::optional<std::int64_t> step_size_down = std::nullopt;  ///< Steps down; > 0; absent: step_size_up.
  CyclicMode mode = CyclicMode::triangular;  ///< triangular2 halves the height each cycle; exp_range: gamma^t.
  double gamma = 1.0;                        ///< Of exp_range; > 0.
  std::function<double(double)> scale_fn =
      {};                                   ///< Instead of a mode: the height's factor, of the cycle (1, 2, …) or t.
  ScaleMode scale_mode = ScaleMode::cycle;  ///< What scale_fn is given.
  bool cycle_momentum = true;               ///< Moves momentum between max_momentum and base_momentum.
  double base_momentum = 0.8;               ///< The momentum at the rate's top.
  double max_momentum = 0.9;                ///< The momentum at the rate's bottom.
};
/// base + (max - base) * triangle(t) * scale. PyTorch: CyclicLR. Source: Smith, "Cyclical Learning Rates", 2017.
Schedule cyclic(CyclicOptions options);

struct OneCycleOptions {
  std::optional<double> max_lr =
      std::nullopt;              ///< The peak; absent: each group's own base rate (PyTorch's list of max_lr).
  std::int64_t total_steps = 0;  ///< Steps of the whole run; > 0. Asking for a later one is an error.
  double pct_start = 0.3;        ///< The part of the run that rises; in [0, 1].
  Anneal anneal_strategy = Anneal::cos;
  bool cycle_momentum = true;     ///< Moves momentum between max_momentum and base_momentum.
  double base_momentum = 0.85;    ///< The momentum at the peak.
  double max_momentum = 0.95;     ///< The momentum at both ends.
  double div_factor = 25.0;       ///< The first rate is peak / div_factor; > 0.
  double final_div_factor = 1e4;  ///< The last rate is the first one / final_div_factor; > 0.
  bool three_phase = false;       ///< Falls back to the first rate symmetrically, then to the last one.
};
/// Up to the peak, then far below the start. PyTorch: OneCycleLR. Source: Smith & Topin, "Super-Convergence", 2018.
Schedule one_cycle(OneCycleOptions options);

}  // namespace athanor::schedule
