#pragma once
#include <cstdint>
#include <optional>

#include "athanor/schedule/Schedule.h"

/// What the field uses and PyTorch lacks. A warm-up of n steps gives base_lr * (t + 1) / n: its first step already
/// moves and its last one has the whole rate, so it meets whatever follows without a jump. Floors (eta_min) are
/// absolute rates in [0, base_lr]; past the end a schedule stays at its floor.
namespace athanor::schedule {

struct LinearWarmupOptions {
  std::int64_t steps = 0;                             ///< >= 0; 0 and 1 are no warm-up.
  std::optional<double> start_factor = std::nullopt;  ///< The factor of step 0, in [0, 1]; absent: 1 / steps.
};
/// A straight line up to base_lr, reached at step `steps - 1`, then base_lr for ever.
Schedule linear_warmup(LinearWarmupOptions options);

struct WarmupDecayOptions {
  std::int64_t warmup_steps = 0;  ///< >= 0.
  std::int64_t total_steps = 0;   ///< The step at which eta_min is reached; > warmup_steps.
  double eta_min = 0.0;           ///< The floor.
};
/// Linear warm-up, then half a cosine down to eta_min.
Schedule warmup_cosine(WarmupDecayOptions options);
/// Linear warm-up, then a straight line down to eta_min.
Schedule warmup_linear(WarmupDecayOptions options);

struct WarmupPolynomialOptions {
  std::int64_t warmup_steps = 0;  ///< >= 0.
  std::int64_t total_steps = 0;   ///< The step at which eta_min is reached; > warmup_steps.
  double power = 1.0;             ///< > 0.
  double eta_min = 0.0;           ///< The floor.
};
/// Linear warm-up, then eta_min + (base_lr - eta_min) * (1 - progress)^power.
Schedule warmup_polynomial(WarmupPolynomialOptions options);

struct InverseSqrtOptions {
  std::int64_t warmup_steps = 0;  ///< >= 0.
  std::optional<std::int64_t> timescale =
      std::nullopt;  ///< Steps after which the rate has fallen by sqrt(2); > 0; absent: the warm-up.
};
/// Linear warm-up of w steps, then base_lr * sqrt(timescale / (t + 1 - w + timescale)); with the default timescale
/// base_lr * sqrt(w / (t + 1)). Source: Vaswani et al., "Attention Is All You Need", 2017, section 5.3.
Schedule inverse_sqrt(InverseSqrtOptions options = {});

enum class DecayShape { linear, cosine, sqrt };

struct WarmupStableDecayOptions {
  std::int64_t warmup_steps = 0;          ///< >= 0.
  std::int64_t stable_steps = 0;          ///< Steps at base_lr; >= 0.
  std::int64_t decay_steps = 0;           ///< Steps down to eta_min; >= 0.
  DecayShape decay = DecayShape::linear;  ///< sqrt is 1 - sqrt(progress).
  double eta_min = 0.0;                   ///< The floor.
};
/// Warm-up, a plateau, a short decay. Sources: Hu et al., "MiniCPM", 2024; Hägele et al., "Scaling Laws and
/// Compute-Optimal Training Beyond Fixed Training Durations", 2024 (1 - sqrt).
Schedule warmup_stable_decay(WarmupStableDecayOptions options);

struct CosineHardRestartsOptions {
  std::int64_t warmup_steps = 0;  ///< >= 0.
  std::int64_t total_steps = 0;   ///< > warmup_steps.
  std::int64_t cycles = 1;        ///< Cosines that share the steps after the warm-up; in [1, those steps].
  double eta_min = 0.0;           ///< The floor.
};
/// Linear warm-up, then `cycles` equal cosines, each from base_lr to eta_min.
Schedule cosine_hard_restarts(CosineHardRestartsOptions options);

struct TanhDecayOptions {
  std::int64_t total_steps = 0;  ///< > 0.
  double lower = -6.0;           ///< Where on the tanh the run begins; < upper.
  double upper = 3.0;            ///< Where it ends.
  double eta_min = 0.0;          ///< The floor.
};
/// eta_min + (base_lr - eta_min) * (1 - tanh(lower + (upper - lower) * progress)) / 2.
/// Source: Hsueh et al., "Stochastic Gradient Descent with Hyperbolic-Tangent Decay on Classification", 2019.
Schedule tanh_decay(TanhDecayOptions options);

}  // namespace athanor::schedule
