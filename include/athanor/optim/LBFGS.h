#pragma once
#include <string>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

/// A quasi-Newton method for full batches: step(closure) is wanted, and the closure is called many times a step. All
/// parameters are one vector, so there is one group. Source: Liu & Nocedal, 1989; strong Wolfe line search: Nocedal &
/// Wright, "Numerical Optimization", chapter 3; PyTorch's torch.optim.LBFGS.
struct LBFGSOptions {
  double lr = 1;                    ///< First trial of a step, >= 0.
  std::int64_t max_iter = 20;       ///< Iterations a step.
  std::int64_t max_eval = -1;       ///< Closure calls a step; below 0: 5/4 of max_iter.
  double tolerance_grad = 1e-7;     ///< Done when no gradient is larger.
  double tolerance_change = 1e-9;   ///< Done when neither loss nor parameters change more.
  std::int64_t history_size = 100;  ///< Pairs of vectors kept: 2 * history_size times the parameters' bytes.
  std::string line_search_fn;       ///< "strong_wolfe", or "" for steps of size lr.
  bool maximize = false;            ///< Go up.

  void visit(Fields& fields);
  void check() const;
};

using LBFGS = OptimizerOf<LBFGSOptions>;

}  // namespace athanor::optim
