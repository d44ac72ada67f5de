#include "athanor/train/Step.h"

#include <torch/nn/utils/clip_grad.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "athanor/amp/Autocast.h"

namespace athanor::train {
namespace {

void require(bool right, const std::string& message) {
  if (!right) throw std::invalid_argument("train::Step: " + message);
}

}  // namespace

Step::Step(models::Model model, Loss loss, torch::optim::Optimizer& optimizer, StepOptions options)
    : model_(std::move(model)), loss_(std::move(loss)), optimizer_(&optimizer), options_(options) {
  require(model_.module && model_.forward, "the model is empty");
  require(static_cast<bool>(loss_), "the loss is empty");
  require(options_.accumulate >= 1, "accumulate must be >= 1, got " + std::to_string(options_.accumulate));
  require(options_.clip_norm >= 0, "clip_norm must be >= 0, got " + std::to_string(options_.clip_norm));
  require(options_.clip_value >= 0, "clip_value must be >= 0, got " + std::to_string(options_.clip_value));
  for (const auto& group : optimizer.param_groups())
    parameters_.insert(parameters_.end(), group.params().begin(), group.params().end());
}

data::Batch Step::to_device(const data::Batch& batch) const {
  const bool images = options_.channels_last && batch.inputs.dim() == 4;
  const auto format = images ? std::optional(at::MemoryFormat::ChannelsLast) : std::nullopt;
  const bool here = batch.inputs.device() == options_.device;
  if (here && !images) return batch;
  return {
      batch.inputs.to(batch.inputs.options().device(options_.device), /*non_blocking=*/true, /*copy=*/false, format),
      here ? batch.targets : batch.targets.to(options_.device, /*non_blocking=*/true), batch.items};
}

Step::Evaluation Step::forward(const data::Batch& batch) const {
  if (options_.compute == at::kFloat) {
    const auto output = model_.forward(batch.inputs);
    return {output, loss_(output, batch.targets)};
  }
  const amp::Autocast region(options_.device, options_.compute);
  const auto output = model_.forward(batch.inputs);
  return {output, loss_(output, batch.targets)};
}

at::Tensor Step::backward(const data::Batch& batch) {
  if (micro_batches_ == 0) expected_items_ = batch.items * options_.accumulate;
  auto loss = forward(to_device(batch)).loss;
  // Alone in its step, a batch's own mean is the mean: the bare loop, to the bit.
  auto weighted = options_.accumulate == 1
                      ? loss
                      : loss * (static_cast<double>(batch.items) / static_cast<double>(expected_items_));
  weighted.backward();
  ++micro_batches_;
  items_ += batch.items;
  return loss.detach();
}

// The losses were divided by the items that a full accumulation would have had.
void Step::correct_mean() {
  if (items_ == expected_items_) return;
  std::vector<at::Tensor> gradients;
  for (const auto& parameter : parameters_)
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  const torch::NoGradGuard no_grad;
  if (!gradients.empty())
    at::_foreach_mul_(gradients, static_cast<double>(expected_items_) / static_cast<double>(items_));
}

void Step::clip() {
  if (options_.clip_value > 0) torch::nn::utils::clip_grad_value_(parameters_, options_.clip_value);
  if (options_.clip_norm > 0) torch::nn::utils::clip_grad_norm_(parameters_, options_.clip_norm);
}

bool Step::update() {
  if (micro_batches_ == 0) return false;
  correct_mean();
  clip();
  optimizer_->step();
  optimizer_->zero_grad();
  micro_batches_ = items_ = expected_items_ = 0;
  return true;
}

Step::Evaluation Step::evaluate(const data::Batch& batch) const {
  const torch::NoGradGuard no_grad;
  return forward(to_device(batch));
}

}  // namespace athanor::train
