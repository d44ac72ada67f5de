#pragma once
// Optimizers that give each tensor a rate of its own: LAMB, LARS (by the norms of weights and update), Adam-mini (one
// second moment a row).
#include <array>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

/// Adam's step scaled to each tensor's norm, for very large batches. Source: You et al., 2020, algorithm 2.
struct LAMBOptions {
  double lr = 1e-3;                            ///< Step as a part of the weights' norm, >= 0.
  std::array<double, 2> betas = {0.9, 0.999};  ///< Decay of the first and second moment, each in [0, 1).
  double eps = 1e-6;                           ///< Added to the root of the second moment, >= 0.
  double weight_decay = 0;                     ///< Added to Adam's direction before it is scaled, >= 0.
  bool maximize = false;                       ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

/// SGD with momentum, its step scaled to each tensor's norm. Source: You, Gitman & Ginsburg, 2017, algorithm 1.
struct LARSOptions {
  double lr = 0.1;                  ///< Step size, >= 0.
  double momentum = 0.9;            ///< >= 0.
  double weight_decay = 0;          ///< >= 0.
  double trust_coefficient = 1e-3;  ///< Step as a part of the weights' norm, > 0.
  double eps = 1e-8;                ///< Added to the norms' sum, >= 0.
  bool maximize = false;            ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

/// AdamW with one second moment a row of a weight (a matrix's output, a filter, a token), one for a vector: half the
/// state. Source: Zhang et al., "Adam-mini: Use Fewer Learning Rates To Gain More", 2024. Query and key matrices too
/// are cut by row here, where the paper cuts them by head.
struct AdamMiniOptions {
  double lr = 1e-3;                            ///< Step size, >= 0.
  std::array<double, 2> betas = {0.9, 0.999};  ///< Decay of the first and second moment, each in [0, 1).
  double eps = 1e-8;                           ///< Added to the root of the second moment, >= 0.
  double weight_decay = 1e-2;                  ///< Weights shrink by lr * weight_decay a step, >= 0.
  bool maximize = false;                       ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

using LAMB = OptimizerOf<LAMBOptions>;
using LARS = OptimizerOf<LARSOptions>;
using AdamMini = OptimizerOf<AdamMiniOptions>;

}  // namespace athanor::optim
