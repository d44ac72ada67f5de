#pragma once

namespace athanor::optim {

// The numbers an update rule takes from settings and step, computed once for all tensors at the same step. Doubles
// only: two are the same when their bytes are. `grad_factor` is 1, or -1 to maximize, over the gradient scaler's scale.

struct AdamCoefficients {
  double grad_factor, weight_decay, shrink, one_minus_beta1, beta2, one_minus_beta2, inverse_bias2_root, eps, step_size;
};

struct SgdCoefficients {
  double grad_factor, weight_decay, momentum, input, nesterov, lr;
};

struct RmspropCoefficients {
  double grad_factor, weight_decay, alpha, one_minus_alpha, eps, momentum, lr;
};

struct AdagradCoefficients {
  double grad_factor, weight_decay, eps, lr;
};

struct AdadeltaCoefficients {
  double grad_factor, weight_decay, rho, one_minus_rho, eps, lr;
};

struct AdamaxCoefficients {
  double grad_factor, weight_decay, one_minus_beta1, beta2, eps, step_size;
};

struct NadamCoefficients {
  double grad_factor, weight_decay, shrink, one_minus_beta1, beta2, one_minus_beta2, bias2, eps, grad_step,
      momentum_step;
};

/// `rectified` is 0 while the second moment's variance is not yet bounded: then a plain momentum step.
struct RadamCoefficients {
  double grad_factor, weight_decay, shrink, one_minus_beta1, beta2, one_minus_beta2, bias1, lr, eps, bias2_root,
      rectified;
};

struct AsgdCoefficients {
  double grad_factor, weight_decay, shrink, eta, mu;
};

struct RpropCoefficients {
  double grad_factor, eta_minus, eta_plus, step_min, step_max;
};

struct LionCoefficients {
  double grad_factor, shrink, one_minus_beta1, one_minus_beta2, lr;
};

struct AdemamixCoefficients {
  double grad_factor, shrink, one_minus_beta1, beta2, one_minus_beta2, one_minus_beta3, bias1, bias2_root, eps, alpha,
      lr;
};

/// `average` is the weight of the newest z in the average x, `along` what of the step the parameters y make themselves.
struct ScheduleFreeCoefficients {
  double grad_factor, weight_decay, beta2, one_minus_beta2, eps, average, along, step_size;
};

}  // namespace athanor::optim
