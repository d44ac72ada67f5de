#include "optim/kernels/Kernels.h"
#include "optim/kernels/Targets.h"
#include "optim/rules/Coefficients.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optim/kernels/AdaptiveKernels.cpp"
#include "hwy/foreach_target.h"
// Highway includes this file once for each instruction set.
#include "optim/engine/Loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace athanor::optim::HWY_NAMESPACE {
#include "optim/rules/Adaptive-inl.h"
engine::Kernels rmsprop() {
  return plain_kernels<RmspropRule<false, false>>();
}
engine::Kernels rmsprop_momentum() {
  return plain_kernels<RmspropRule<false, true>>();
}
engine::Kernels rmsprop_centered() {
  return plain_kernels<RmspropRule<true, false>>();
}
engine::Kernels rmsprop_centered_momentum() {
  return plain_kernels<RmspropRule<true, true>>();
}
engine::Kernels adagrad() {
  return plain_kernels<AdagradRule>();
}
engine::Kernels adadelta() {
  return plain_kernels<AdadeltaRule>();
}
engine::Kernels adamax() {
  return plain_kernels<AdamaxRule>();
}
engine::Kernels nadam() {
  return plain_kernels<NadamRule>();
}
engine::Kernels radam() {
  return plain_kernels<RadamRule>();
}
engine::Kernels asgd() {
  return plain_kernels<AsgdRule>();
}
engine::Kernels rprop() {
  return plain_kernels<RpropRule>();
}
}  // namespace athanor::optim::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor::optim {
HWY_EXPORT(rmsprop);
HWY_EXPORT(rmsprop_momentum);
HWY_EXPORT(rmsprop_centered);
HWY_EXPORT(rmsprop_centered_momentum);
HWY_EXPORT(adagrad);
HWY_EXPORT(adadelta);
HWY_EXPORT(adamax);
HWY_EXPORT(nadam);
HWY_EXPORT(radam);
HWY_EXPORT(asgd);
HWY_EXPORT(rprop);
engine::Kernels rmsprop_kernels() {
  return HWY_DYNAMIC_DISPATCH(rmsprop)();
}
engine::Kernels rmsprop_momentum_kernels() {
  return HWY_DYNAMIC_DISPATCH(rmsprop_momentum)();
}
engine::Kernels rmsprop_centered_kernels() {
  return HWY_DYNAMIC_DISPATCH(rmsprop_centered)();
}
engine::Kernels rmsprop_centered_momentum_kernels() {
  return HWY_DYNAMIC_DISPATCH(rmsprop_centered_momentum)();
}
engine::Kernels adagrad_kernels() {
  return HWY_DYNAMIC_DISPATCH(adagrad)();
}
engine::Kernels adadelta_kernels() {
  return HWY_DYNAMIC_DISPATCH(adadelta)();
}
engine::Kernels adamax_kernels() {
  return HWY_DYNAMIC_DISPATCH(adamax)();
}
engine::Kernels nadam_kernels() {
  return HWY_DYNAMIC_DISPATCH(nadam)();
}
engine::Kernels radam_kernels() {
  return HWY_DYNAMIC_DISPATCH(radam)();
}
engine::Kernels asgd_kernels() {
  return HWY_DYNAMIC_DISPATCH(asgd)();
}
engine::Kernels rprop_kernels() {
  return HWY_DYNAMIC_DISPATCH(rprop)();
}
}  // namespace athanor::optim
#endif
