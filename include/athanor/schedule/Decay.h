#pragma once
#include <cstdint>
#include <vector>

#include "athanor/schedule/Schedule.h"

/// Schedules that fall from the base rate. Names, settings and defaults are PyTorch's (torch.optim.lr_scheduler);
/// formulas with `t` for the step. Each throws std::invalid_argument for settings outside what its fields allow.
namespace athanor::schedule {

struct StepOptions {
  std::int64_t step_size = 0;  ///< Steps between two reductions; > 0.
  double gamma = 0.1;          ///< The factor of each; >= 0.
};
/// base_lr * gamma^floor(t / step_size). PyTorch: StepLR.
Schedule step(StepOptions options);

struct MultiStepOptions {
  std::vector<std::int64_t> milestones =
      {};              ///< Steps at which the rate falls, in any order; repeated ones count twice.
  double gamma = 0.1;  ///< The factor of each; >= 0.
};
/// base_lr * gamma^(number of milestones <= t). PyTorch: MultiStepLR.
Schedule multi_step(MultiStepOptions options);

struct ConstantOptions {
  double factor = 1.0 / 3.0;     ///< In [0, 1].
  std::int64_t total_iters = 5;  ///< Steps at the reduced rate; >= 0.
};
/// base_lr * factor while t < total_iters, then base_lr. PyTorch: ConstantLR.
Schedule constant(ConstantOptions options = {});

struct LinearOptions {
  double start_factor = 1.0 / 3.0;  ///< In (0, 1].
  double end_factor = 1.0;          ///< In [0, 1].
  std::int64_t total_iters = 5;     ///< The step at which end_factor is reached; >= 0.
};
/// base_lr times a factor that goes in a straight line from start_factor to end_factor. PyTorch: LinearLR.
Schedule linear(LinearOptions options = {});

struct ExponentialOptions {
  double gamma = 0.0;  ///< > 0.
};
/// base_lr * gamma^t. PyTorch: ExponentialLR.
Schedule exponential(ExponentialOptions options);

struct PolynomialOptions {
  std::int64_t total_iters = 5;  ///< The step at which 0 is reached; > 0.
  double power = 1.0;            ///< > 0.
};
/// base_lr * (1 - min(t, total_iters) / total_iters)^power. PyTorch: PolynomialLR.
Schedule polynomial(PolynomialOptions options = {});

struct CosineAnnealingOptions {
  std::int64_t t_max = 0;  ///< Half a period: the step at which eta_min is reached; > 0.
  double eta_min = 0.0;    ///< The floor, an absolute rate; >= 0 and not above the base rate.
};
/// eta_min + (base_lr - eta_min) * (1 + cos(pi * t / t_max)) / 2; rises again after t_max. PyTorch: CosineAnnealingLR.
Schedule cosine_annealing(CosineAnnealingOptions options);

struct CosineAnnealingWarmRestartsOptions {
  std::int64_t t_0 = 0;     ///< Steps of the first period; > 0.
  std::int64_t t_mult = 1;  ///< Each period is so many times as long as the one before; >= 1.
  double eta_min = 0.0;     ///< The floor, an absolute rate; >= 0 and not above the base rate.
};
/// Cosine from base_lr to eta_min over t_0, t_0 * t_mult, t_0 * t_mult^2, … steps, starting anew each time.
/// PyTorch: CosineAnnealingWarmRestarts. Source: Loshchilov & Hutter, "SGDR", 2017.
Schedule cosine_annealing_warm_restarts(CosineAnnealingWarmRestartsOptions options);

struct SwaOptions {
  double swa_lr = 0.0;              ///< The rate to end at, absolute; may lie above the base rate.
  std::int64_t anneal_epochs = 10;  ///< The step at which it is reached; >= 0.
  Anneal anneal_strategy = Anneal::cos;
};
/// From base_lr to swa_lr, then swa_lr for ever. PyTorch: SWALR. Source: Izmailov et al., 2018.
Schedule swa(SwaOptions options);

}  // namespace athanor::schedule
