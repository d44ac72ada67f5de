#include "athanor/optim/StepInBackward.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/nn/module.h>

#include <mutex>
#include <stdexcept>
#include <unordered_set>

namespace athanor::optim {

// Hooks outlive the InBackward object in graphs that are still alive, so they look here whether they still count.
struct InBackward::Shared {
  std::mutex mutex;  // backward() has a thread for each device
  Optimizer* optimizer = nullptr;
  std::vector<at::Tensor> params;
};

namespace {

template <class Shared>
class StepHook final : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit StepHook(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  void operator()(const torch::autograd::Variable& param) override {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->optimizer == nullptr) return;
    shared_->optimizer->step_parameter(param);
    param.mutable_grad().reset();
  }

 private:
  std::shared_ptr<Shared> shared_;
};

void refuse(const std::string& what, const std::string& why) {
  throw std::invalid_argument(fmt::format("step_in_backward does not go with {}: {}", what, why));
}

}  // namespace

InBackward::InBackward(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
InBackward::InBackward(InBackward&&) noexcept = default;
InBackward& InBackward::operator=(InBackward&&) noexcept = default;

InBackward::~InBackward() {
  if (!shared_) return;
  const std::lock_guard lock(shared_->mutex);
  shared_->optimizer = nullptr;
  for (const auto& param : shared_->params) torch::autograd::impl::set_post_acc_grad_hooks(param, nullptr);
  shared_->params.clear();
}

InBackward step_in_backward(Optimizer& optimizer, torch::nn::Module& model, InBackwardUse use) {
  if (use.clip_norm > 0)
    refuse("clip_norm",
           "the norm of all gradients is known only when all are there; use clip_grad_value, or lower the rate");
  if (use.accumulate > 1)
    refuse("accumulation", "a gradient is complete only after the last micro-batch, so all must be kept");
  if (use.grad_scaler)
    refuse("a gradient scaler",
           "whether the step is skipped is known only when all gradients are there; train in bf16");
  if (optimizer.kind() == "lbfgs") refuse("lbfgs", "it needs all gradients as one vector, several times a step");
  std::unordered_set<const void*> of_model;
  for (const auto& param : model.parameters()) of_model.insert(param.unsafeGetTensorImpl());
  auto shared = std::make_shared<InBackward::Shared>();
  shared->optimizer = &optimizer;
  for (const auto& group : optimizer.param_groups())
    for (const auto& param : group.params()) {
      if (!of_model.contains(param.unsafeGetTensorImpl()))
        throw std::invalid_argument("step_in_backward: the optimizer has a parameter that is not the model's");
      if (torch::autograd::impl::post_acc_grad_hooks(param) != nullptr)
        throw std::invalid_argument(
            "step_in_backward: a parameter already has a hook on its gradient; end that one first");
      if (param.requires_grad()) shared->params.push_back(param);
    }
  for (const auto& param : shared->params)
    torch::autograd::impl::set_post_acc_grad_hooks(param, std::make_unique<StepHook<InBackward::Shared>>(shared));
  return InBackward(std::move(shared));
}

}  // namespace athanor::optim
