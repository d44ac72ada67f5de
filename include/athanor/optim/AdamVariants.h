#pragma once
// Adam with one thing changed: Adamax (largest gradient instead of the mean square), NAdam (Nesterov's look ahead),
// RAdam (a warm-up that follows from the statistics), AdEMAMix (a second, slow momentum).
#include <array>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

/// Source: Kingma & Ba, 2015, section 7; PyTorch's torch.optim.Adamax.
struct AdamaxOptions {
  double lr = 2e-3;                            ///< Step size, >= 0.
  std::array<double, 2> betas = {0.9, 0.999};  ///< Decay of the momentum and of the largest gradient, each in [0, 1).
  double eps = 1e-8;                           ///< Added to each gradient's magnitude, >= 0.
  double weight_decay = 0;                     ///< Added to the gradient (L2), >= 0.
  bool maximize = false;                       ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

/// Source: Dozat, 2016; PyTorch's torch.optim.NAdam.
struct NAdamOptions {
  double lr = 2e-3;                            ///< Step size, >= 0.
  std::array<double, 2> betas = {0.9, 0.999};  ///< Decay of the first and second moment, each in [0, 1).
  double eps = 1e-8;                           ///< Added to the root of the second moment, >= 0.
  double weight_decay = 0;                     ///< >= 0.
  double momentum_decay = 4e-3;                ///< How fast the momentum warms up, >= 0.
  bool decoupled_weight_decay = false;         ///< Shrink the weights instead of adding to the gradient.
  bool maximize = false;                       ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

/// Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020; PyTorch's torch.optim.RAdam.
struct RAdamOptions {
  double lr = 1e-3;                            ///< Step size, >= 0.
  std::array<double, 2> betas = {0.9, 0.999};  ///< Decay of the first and second moment, each in [0, 1).
  double eps = 1e-8;                           ///< Added to the root of the second moment, >= 0.
  double weight_decay = 0;                     ///< >= 0.
  bool decoupled_weight_decay = false;         ///< Shrink the weights instead of adding to the gradient.
  bool maximize = false;                       ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

/// Source: Pagliardini, Ablin & Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024.
struct AdEMAMixOptions {
  double lr = 1e-3;                                    ///< Step size, >= 0.
  std::array<double, 3> betas = {0.9, 0.999, 0.9999};  ///< Decay of the fast momentum, second moment, slow momentum.
  double alpha = 5;                                    ///< Weight of the slow momentum, >= 0.
  double eps = 1e-8;                                   ///< Added to the root of the second moment, >= 0.
  double weight_decay = 0;                             ///< Weights shrink by lr * weight_decay a step, >= 0.
  std::int64_t warmup_steps = 0;  ///< Over which alpha and betas[2] grow to their value; 0: at once.
  bool maximize = false;          ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

using Adamax = OptimizerOf<AdamaxOptions>;
using NAdam = OptimizerOf<NAdamOptions>;
using RAdam = OptimizerOf<RAdamOptions>;
using AdEMAMix = OptimizerOf<AdEMAMixOptions>;

}  // namespace athanor::optim
