#pragma once
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

/// How far a parameter is: the number of its coming step and the method's scalars. Real is double, or at::Tensor (one
/// number, double) where the device alone knows, because the gradient scaler may have skipped steps unseen. Formulas of
/// a step's coefficients are written once for both, with the functions below.
template <class Real>
struct Progress {
  Real step;
  std::vector<Real> scalars;
};

inline double power(double base, double exponent) {
  return std::pow(base, exponent);
}
inline at::Tensor power(double base, const at::Tensor& exponent) {
  return at::pow(base, exponent);
}
inline at::Tensor power(const at::Tensor& base, double exponent) {
  return at::pow(base, exponent);
}
inline double square_root(double x) {
  return std::sqrt(x);
}
inline at::Tensor square_root(const at::Tensor& x) {
  return at::sqrt(x);
}
inline double power_of_e(double x) {
  return std::exp(x);
}
inline at::Tensor power_of_e(const at::Tensor& x) {
  return at::exp(x);
}
inline double larger(double a, double b) {
  return std::max(a, b);
}
inline at::Tensor larger(const at::Tensor& a, double b) {
  return a.clamp_min(b);
}
inline at::Tensor larger(const at::Tensor& a, const at::Tensor& b) {
  return at::maximum(a, b);
}
inline double smaller(double a, double b) {
  return std::min(a, b);
}
inline at::Tensor smaller(const at::Tensor& a, double b) {
  return a.clamp_max(b);
}
/// `yes` where the condition holds, else `no`.
inline double choose(bool condition, double yes, double no) {
  return condition ? yes : no;
}
inline at::Tensor choose(const at::Tensor& condition, const at::Tensor& yes, const at::Tensor& no) {
  return at::where(condition, yes, no);
}
inline at::Tensor choose(const at::Tensor& condition, const at::Tensor& yes, double no) {
  return at::where(condition, yes, at::full({}, no, yes.options()));
}
inline at::Tensor choose(const at::Tensor& condition, double yes, const at::Tensor& no) {
  return at::where(condition, at::full({}, yes, no.options()), no);
}
inline at::Tensor choose(const at::Tensor& condition, double yes, double no) {
  const auto options = at::TensorOptions(at::kDouble).device(condition.device());
  return at::where(condition, at::full({}, yes, options), at::full({}, no, options));
}

/// Whether this parameter's steps are counted on its device from now on.
inline bool counts_on_device(const ParamState& state, const at::Tensor& found_inf) {
  return found_inf.defined() || state.device_step.defined();
}

/// The progress of the coming step, counted on the device.
Progress<at::Tensor> coming_step(ParamState& state, const at::Device& device);
/// Makes it the state's own, unless found_inf (may be undefined) is not 0.
void keep_progress(ParamState& state, const Progress<at::Tensor>& now, const at::Tensor& found_inf);

/// Keeps tensors as they are where the gradient scaler found an overflow, and lets the device alone decide: copies
/// them, and puts the copies back bit by bit, in three operations over all tensors of a dtype. Costs a copy of them.
class Undo {
 public:
  /// With found_inf undefined it does nothing.
  Undo(const std::vector<at::Tensor>& tensors, const at::Tensor& found_inf);
  void put_back();

 private:
  struct Same {
    at::ScalarType type;
    std::vector<at::Tensor> tensors, copies;  // as integers of their size
  };
  std::vector<Same> kinds_;
  at::Tensor found_inf_;
};

/// What a step changes of a parameter: itself and its state.
std::vector<at::Tensor> changed_by_step(const at::Tensor& param, const ParamState& state);

}  // namespace athanor::optim
