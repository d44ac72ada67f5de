#pragma once
// Optimizers that use the sign of the gradient alone, and the averaged SGD: Lion, Rprop, ASGD.
#include <array>

#include "athanor/optim/Optimizer.h"
#include "athanor/optim/Storage.h"

namespace athanor::optim {

/// Source: Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023.
struct LionOptions {
  double lr = 1e-4;                           ///< Every weight moves by this much a step, >= 0. A tenth of AdamW's.
  std::array<double, 2> betas = {0.9, 0.99};  ///< Of the direction and of the momentum, each in [0, 1).
  double weight_decay = 0;                    ///< Weights shrink by lr * weight_decay a step, >= 0. Ten times AdamW's.
  bool maximize = false;                      ///< Go up the gradient.
  Storage storage = {};

  void visit(Fields& fields);
  void check() const;
};

/// For full-batch gradients. Source: Riedmiller & Braun, 1993; PyTorch's torch.optim.Rprop.
struct RpropOptions {
  double lr = 1e-2;                               ///< First step of each weight, >= 0.
  std::array<double, 2> etas = {0.5, 1.2};        ///< Factors of the step where the sign changed and where it stayed.
  std::array<double, 2> step_sizes = {1e-6, 50};  ///< Smallest and largest step.
  bool maximize = false;                          ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

/// SGD that keeps an average of the weights from step t0 on, in state "ax". Source: Polyak & Juditsky, 1992; PyTorch's
/// torch.optim.ASGD.
struct ASGDOptions {
  double lr = 1e-2;         ///< First step size, >= 0.
  double lambd = 1e-4;      ///< Decay of weights and of the step, >= 0.
  double alpha = 0.75;      ///< The step falls as (1 + lambd * lr * step)^-alpha, >= 0.
  double t0 = 1e6;          ///< The step from which weights are averaged.
  double weight_decay = 0;  ///< Added to the gradient (L2), >= 0.
  bool maximize = false;    ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

using Lion = OptimizerOf<LionOptions>;
using Rprop = OptimizerOf<RpropOptions>;
using ASGD = OptimizerOf<ASGDOptions>;

}  // namespace athanor::optim
