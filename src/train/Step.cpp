#include "athanor/train/Step.h"

#include <optional>
#include <stdexcept>
#include <string>

#include "athanor/amp/Autocast.h"
#include "athanor/nn/Offload.h"
#include "athanor/optim/Clip.h"

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
  if (options_.chunked_loss) head_ = nn::find_linear_head(*model_.module);
  require(!options_.chunked_loss || head_, "chunked_loss needs a model that derives from nn::HasLinearHead");
  if (options_.in_backward) {
    auto* ours = dynamic_cast<optim::Optimizer*>(&optimizer);
    require(ours != nullptr, "in_backward needs an optimizer of athanor::optim");
    require(options_.clip_value <= 0, "in_backward cannot be with clip_value");
    in_backward_ = optim::step_in_backward(*ours, *model_.module,
                                           {.clip_norm = options_.clip_norm,
                                            .accumulate = options_.accumulate,
                                            .grad_scaler = options_.scaler != nullptr});
  }
  for (const auto& group : optimizer.param_groups())
    parameters_.insert(parameters_.end(), group.params().begin(), group.params().end());
}

data::Batch Step::to_device(const data::Batch& batch) const {
  const bool images = options_.channels_last && batch.inputs.dim() == 4;
  const auto format = images ? std::optional(at::MemoryFormat::ChannelsLast) : std::nullopt;
  const auto given = batch.inputs.scalar_type();
  const auto dtype = given == at::kFloat ? options_.parameters : given;
  const bool here = batch.inputs.device() == options_.device;
  if (here && !images && given == dtype) return batch;
  return {batch.inputs.to(batch.inputs.options().device(options_.device).dtype(dtype), /*non_blocking=*/true,
                          /*copy=*/false, format),
          here ? batch.targets : batch.targets.to(options_.device, /*non_blocking=*/true), batch.items};
}

Step::Evaluation Step::forward(const data::Batch& batch) const {
  // fp32 is no region at all: the bare loop.
  std::optional<amp::Autocast> region;
  if (options_.compute != at::kFloat) region.emplace(options_.device, options_.compute);
  auto output = model_.forward(batch.inputs);
  if (options_.parameters != at::kFloat) output = output.to(at::kFloat);
  return {output, loss_(output, batch.targets)};
}

at::Tensor Step::chunked_loss(const data::Batch& batch) const {
  std::optional<amp::Autocast> region;
  if (options_.compute != at::kFloat) region.emplace(options_.device, options_.compute);
  return nn::linear_cross_entropy(head_->features(batch.inputs), head_->head(), batch.targets, *options_.chunked_loss);
}

at::Tensor Step::training_loss(const data::Batch& batch) const {
  std::optional<nn::OffloadScope> offload;
  if (options_.offload) offload.emplace();
  return options_.chunked_loss ? chunked_loss(batch) : forward(batch).loss;
}

at::Tensor Step::backward(const data::Batch& batch) {
  if (micro_batches_ == 0) expected_items_ = batch.items * options_.accumulate;
  const auto loss = training_loss(to_device(batch));
  // Alone in its step, a batch's own mean is the mean: the bare loop, to the bit.
  auto weighted = options_.accumulate == 1
                      ? loss
                      : loss * (static_cast<double>(batch.items) / static_cast<double>(expected_items_));
  if (options_.scaler) weighted = options_.scaler->scale(weighted);
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
  if (options_.clip_value <= 0 && options_.clip_norm <= 0) return;
  if (options_.scaler) options_.scaler->unscale(*optimizer_);
  if (options_.clip_value > 0) optim::clip_grad_value(parameters_, options_.clip_value);
  if (options_.clip_norm > 0) gradient_norm_ = optim::clip_grad_norm(parameters_, options_.clip_norm);
}

amp::Stepped Step::update() {
  if (micro_batches_ == 0) return amp::Stepped(false);
  amp::Stepped stepped(true);
  if (!in_backward_) {
    correct_mean();
    clip();
  }
  if (in_backward_) {
    // backward() has made the step and let go of the gradients.
  } else if (options_.scaler) {
    stepped = options_.scaler->step(*optimizer_);
    options_.scaler->update();
  } else {
    optimizer_->step();
  }
  if (!in_backward_) optimizer_->zero_grad();
  micro_batches_ = items_ = expected_items_ = 0;
  return stepped;
}

Step::Evaluation Step::evaluate(const data::Batch& batch, bool want_output) const {
  const torch::NoGradGuard no_grad;
  if (!want_output && options_.chunked_loss) return {{}, chunked_loss(to_device(batch))};
  return forward(to_device(batch));
}

}  // namespace athanor::train
