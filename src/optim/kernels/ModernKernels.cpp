#include "optim/kernels/Kernels.h"
#include "optim/kernels/Targets.h"
#include "optim/rules/Coefficients.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optim/kernels/ModernKernels.cpp"
#include "hwy/foreach_target.h"
// Highway includes this file once for each instruction set.
#include "optim/engine/Loop-inl.h"

HWY_BEFORE_NAMESPACE();
namespace athanor::optim::HWY_NAMESPACE {
#include "optim/rules/Modern-inl.h"
engine::Kernels lion() {
  return all_kernels<LionRule>();
}
engine::Kernels ademamix() {
  return plain_kernels<AdemamixRule>();
}
engine::Kernels schedule_free_adamw() {
  return plain_kernels<ScheduleFreeAdamwRule>();
}
engine::Kernels schedule_free_sgd() {
  return plain_kernels<ScheduleFreeSgdRule>();
}
}  // namespace athanor::optim::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor::optim {
HWY_EXPORT(lion);
HWY_EXPORT(ademamix);
HWY_EXPORT(schedule_free_adamw);
HWY_EXPORT(schedule_free_sgd);
engine::Kernels lion_kernels() {
  return HWY_DYNAMIC_DISPATCH(lion)();
}
engine::Kernels ademamix_kernels() {
  return HWY_DYNAMIC_DISPATCH(ademamix)();
}
engine::Kernels schedule_free_adamw_kernels() {
  return HWY_DYNAMIC_DISPATCH(schedule_free_adamw)();
}
engine::Kernels schedule_free_sgd_kernels() {
  return HWY_DYNAMIC_DISPATCH(schedule_free_sgd)();
}
}  // namespace athanor::optim
#endif
