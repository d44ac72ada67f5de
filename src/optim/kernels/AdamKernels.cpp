#include "optim/kernels/Kernels.h"
#include "optim/kernels/Targets.h"
#include "optim/rules/Coefficients.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optim/kernels/AdamKernels.cpp"
#include "hwy/foreach_target.h"
// Highway includes this file once for each instruction set.
#include "optim/engine/Loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace athanor::optim::HWY_NAMESPACE {
#include "optim/rules/Adam-inl.h"
#include "optim/rules/Sgd-inl.h"
engine::Kernels adam() {
  return all_kernels<AdamRule>();
}
engine::Kernels adam_amsgrad() {
  return all_kernels<AdamAmsgradRule>();
}
engine::Kernels sgd() {
  return all_kernels<SgdRule>();
}
engine::Kernels sgd_momentum() {
  return all_kernels<SgdMomentumRule>();
}
}  // namespace athanor::optim::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor::optim {
HWY_EXPORT(adam);
HWY_EXPORT(adam_amsgrad);
HWY_EXPORT(sgd);
HWY_EXPORT(sgd_momentum);
engine::Kernels adam_kernels() {
  return HWY_DYNAMIC_DISPATCH(adam)();
}
engine::Kernels adam_amsgrad_kernels() {
  return HWY_DYNAMIC_DISPATCH(adam_amsgrad)();
}
engine::Kernels sgd_kernels() {
  return HWY_DYNAMIC_DISPATCH(sgd)();
}
engine::Kernels sgd_momentum_kernels() {
  return HWY_DYNAMIC_DISPATCH(sgd_momentum)();
}
}  // namespace athanor::optim
#endif
