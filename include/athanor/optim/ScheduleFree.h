#pragma once
#include <array>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

// No schedule and no known end: an average of all iterates takes the place of the decay of the learning rate. While
// training the parameters are y, where gradients are taken; call optimizer.eval() before weights are judged or saved
// (they are then the average x), and optimizer.train() before going on. Source: Defazio et al., "The Road Less
// Scheduled", 2024, algorithm 1.

struct ScheduleFreeAdamWOptions {
  double lr = 2.5e-3;  ///< Step size, >= 0; larger than AdamW's.
  std::array<double, 2> betas = {0.9,
                                 0.999};  ///< betas[0]: y = (1 - beta) z + beta x, in (0, 1); betas[1]: second moment.
  double eps = 1e-8;                      ///< Added to the root of the second moment, >= 0.
  double weight_decay = 0;                ///< At y, >= 0.
  std::int64_t warmup_steps = 0;          ///< Linear warm-up of the rate.
  double r = 0;                           ///< Weight step^r in the average.
  double weight_lr_power = 2;             ///< Weight of the largest rate so far in the average.
  bool maximize = false;                  ///< Go up the gradient.
  bool averaged = false;                  ///< Whether the parameters are x now (after eval()); part of the state.

  void visit(Fields& fields);
  void check() const;
};

struct ScheduleFreeSGDOptions {
  double lr = 1.0;                ///< Step size, >= 0.
  double momentum = 0.9;          ///< y = (1 - momentum) z + momentum x, in (0, 1).
  double weight_decay = 0;        ///< At y, added to the gradient, >= 0.
  std::int64_t warmup_steps = 0;  ///< Linear warm-up of the rate.
  double r = 0;                   ///< Weight step^r in the average.
  double weight_lr_power = 2;     ///< Weight of the largest rate so far in the average.
  bool maximize = false;          ///< Go up the gradient.
  bool averaged = false;          ///< Whether the parameters are x now (after eval()); part of the state.

  void visit(Fields& fields);
  void check() const;
};

using ScheduleFreeAdamW = OptimizerOf<ScheduleFreeAdamWOptions>;
using ScheduleFreeSGD = OptimizerOf<ScheduleFreeSGDOptions>;

}  // namespace athanor::optim
