#pragma once
#include <array>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

/// Adam for sparse gradients (embeddings): only rows that have a gradient are touched, state and parameters alike.
/// Source: PyTorch's torch.optim.SparseAdam.
struct SparseAdamOptions {
  double lr = 1e-3;                            ///< Step size, > 0.
  std::array<double, 2> betas = {0.9, 0.999};  ///< Decay of the first and second moment, each in [0, 1).
  double eps = 1e-8;                           ///< Added to the root of the second moment, > 0.
  bool maximize = false;                       ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

using SparseAdam = OptimizerOf<SparseAdamOptions>;

}  // namespace athanor::optim
