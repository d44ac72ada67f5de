#pragma once

namespace athanor::optim {

// The numbers an update rule takes from settings and step, computed once for all tensors at the same step. Doubles
// only: two are the same when their bytes are. `grad_factor` is 1, or -1 to maximize, over the gradient scaler's scale.

struct AdamCoefficients {
  double grad_factor, weight_decay, shrink, one_minus_beta1, beta2, one_minus_beta2, bias2_root, eps, step_size;
};

struct SgdCoefficients {
  double grad_factor, weight_decay, momentum, input, nesterov, lr;
};

}  // namespace athanor::optim
