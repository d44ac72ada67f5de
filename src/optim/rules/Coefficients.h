#pragma once

namespace athanor::optim {

// The numbers an update rule takes from settings and step, computed once for all tensors at the same step.
// `grad_factor` is 1, or -1 to maximize, over the gradient scaler's scale. Those that depend on the step are of type
// Real: double, or a tensor where the device alone knows the step (Progress.h). In doubles only, two are the same when
// their bytes are.

template <class Real>
struct AdamCoefficientsOf {
  double grad_factor, weight_decay, shrink, one_minus_beta1, beta2, one_minus_beta2;
  Real inverse_bias2_root;
  double eps;
  Real step_size;
};
using AdamCoefficients = AdamCoefficientsOf<double>;

template <class Real>
struct SgdCoefficientsOf {
  double grad_factor, weight_decay, momentum;
  Real input;
  double nesterov, lr;
};
using SgdCoefficients = SgdCoefficientsOf<double>;

struct RmspropCoefficients {
  double grad_factor, weight_decay, alpha, one_minus_alpha, eps, momentum, lr;
};

template <class Real>
struct AdagradCoefficientsOf {
  double grad_factor, weight_decay, eps;
  Real lr;
};
using AdagradCoefficients = AdagradCoefficientsOf<double>;

struct AdadeltaCoefficients {
  double grad_factor, weight_decay, rho, one_minus_rho, eps, lr;
};

template <class Real>
struct AdamaxCoefficientsOf {
  double grad_factor, weight_decay, one_minus_beta1, beta2, eps;
  Real step_size;
};
using AdamaxCoefficients = AdamaxCoefficientsOf<double>;

template <class Real>
struct NadamCoefficientsOf {
  double grad_factor, weight_decay, shrink, one_minus_beta1, beta2, one_minus_beta2;
  Real bias2;
  double eps;
  Real grad_step, momentum_step;
};
using NadamCoefficients = NadamCoefficientsOf<double>;

/// `rectified` is 0 while the second moment's variance is not yet bounded: then a plain momentum step.
template <class Real>
struct RadamCoefficientsOf {
  double grad_factor, weight_decay, shrink, one_minus_beta1, beta2, one_minus_beta2;
  Real bias1;
  double lr, eps;
  Real bias2_root, rectified;
};
using RadamCoefficients = RadamCoefficientsOf<double>;

template <class Real>
struct AsgdCoefficientsOf {
  double grad_factor, weight_decay;
  Real shrink, eta, mu;
};
using AsgdCoefficients = AsgdCoefficientsOf<double>;

struct RpropCoefficients {
  double grad_factor, eta_minus, eta_plus, step_min, step_max;
};

struct LionCoefficients {
  double grad_factor, shrink, one_minus_beta1, one_minus_beta2, lr;
};

template <class Real>
struct AdemamixCoefficientsOf {
  double grad_factor, shrink, one_minus_beta1, beta2, one_minus_beta2;
  Real one_minus_beta3, bias1, bias2_root;
  double eps;
  Real alpha;
  double lr;
};
using AdemamixCoefficients = AdemamixCoefficientsOf<double>;

/// `average` is the weight of the newest z in the average x, `along` what of the step the parameters y make themselves.
template <class Real>
struct ScheduleFreeCoefficientsOf {
  double grad_factor, weight_decay, beta2, one_minus_beta2, eps;
  Real average, along, step_size;
};
using ScheduleFreeCoefficients = ScheduleFreeCoefficientsOf<double>;

}  // namespace athanor::optim
