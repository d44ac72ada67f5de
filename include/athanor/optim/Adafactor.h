#pragma once
#include <array>
#include <limits>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

/// The second moment of a matrix kept as one number a row and one a column, no first moment: almost no state.
/// Source: Shazeer & Stern, 2018; PyTorch's torch.optim.Adafactor.
struct AdafactorOptions {
  double lr = 1e-2;           ///< Upper bound of the relative step, >= 0.
  double beta2_decay = -0.8;  ///< The second moment's weight of the newest gradient is step^beta2_decay, <= 0.
  /// Floor of the second moment's root (NaN: the dtype's epsilon), and floor of the weights' root mean square.
  std::array<double, 2> eps = {std::numeric_limits<double>::quiet_NaN(), 1e-3};
  double d = 1.0;           ///< Updates are scaled down to this root mean square, >= 1.
  double weight_decay = 0;  ///< Weights shrink by lr * weight_decay a step, >= 0.
  bool maximize = false;    ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

using Adafactor = OptimizerOf<AdafactorOptions>;

}  // namespace athanor::optim
