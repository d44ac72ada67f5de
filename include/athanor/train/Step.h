#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "athanor/amp/GradScaler.h"
#include "athanor/data/Dataset.h"
#include "athanor/models/Model.h"
#include "athanor/nn/LinearCrossEntropy.h"
#include "athanor/optim/StepInBackward.h"
#include "athanor/train/Loss.h"

namespace athanor::train {

struct StepOptions {
  c10::Device device = c10::Device(c10::kCPU);  ///< Where the model is and batches are brought.
  at::ScalarType compute = at::kFloat;          ///< kBFloat16 or kHalf: forward and loss under autocast.
  at::ScalarType parameters = at::kFloat;       ///< The model's own: inputs are brought in it, losses are fp32.
  bool channels_last = false;                   ///< Images and convolutions in NHWC: the model must be so already.
  std::int64_t accumulate = 1;                  ///< Micro-batches whose gradients make one optimizer step.
  double clip_norm = 0.0;                       ///< Scales the gradient down to this norm; 0: does not.
  double clip_value = 0.0;                      ///< Clamps each element of the gradient to ± this; 0: does not.
  amp::GradScaler* scaler = nullptr;            ///< For fp16. Outlives the step.
  bool in_backward = false;  ///< Each parameter is updated as soon as its gradient is complete, inside backward().
  bool offload = false;      ///< Saved activations wait for backward in host memory.
  /// The loss of a model with a linear head (nn::HasLinearHead) in chunks, in place of `loss` in training.
  std::optional<nn::LinearCrossEntropyOptions> chunked_loss = {};
};

/// One optimizer step, taken apart so that it serves in any loop:
///
///     while (auto batch = loader.next()) {
///       loss = step.backward(*batch);
///       if (step.ready()) step.update();
///     }
///
/// Nothing in it reads a value off the device. Micro-batches are weighted by their items, so that the gradient is that
/// of the mean over all items, also where the last batch is smaller. Not thread-safe.
class Step {
 public:
  /// The optimizer outlives the step. Throws std::invalid_argument for settings out of range.
  Step(models::Model model, Loss loss, torch::optim::Optimizer& optimizer, StepOptions options = {});

  /// Brings a batch to the device (and into channels_last, where images are).
  [[nodiscard]] data::Batch to_device(const data::Batch& batch) const;

  /// Forward, loss and backward of one micro-batch. Returns the mean loss over it, detached and on the device.
  at::Tensor backward(const data::Batch& batch);
  /// Whether `accumulate` micro-batches are in.
  [[nodiscard]] bool ready() const { return micro_batches_ >= options_.accumulate; }
  /// Clips, steps the optimizer and clears the gradients. False if the scaler found the gradients not finite and
  /// nothing was changed; asking that waits for a GPU. Ends an accumulation that is not full with the right mean.
  amp::Stepped update();

  /// Forward and loss without gradients, in the mode (train or eval) that the model is in. Where nobody wants the
  /// output and training's loss is in chunks, so is this one, and the output is undefined.
  struct Evaluation {
    at::Tensor output, loss;
  };
  [[nodiscard]] Evaluation evaluate(const data::Batch& batch, bool want_output = true) const;

  /// The gradient's norm before the last clipping, on the device; undefined without clip_norm.
  [[nodiscard]] const at::Tensor& gradient_norm() const { return gradient_norm_; }
  [[nodiscard]] const models::Model& model() const { return model_; }
  [[nodiscard]] const StepOptions& options() const { return options_; }

 private:
  [[nodiscard]] Evaluation forward(const data::Batch& on_device) const;
  [[nodiscard]] at::Tensor training_loss(const data::Batch& on_device) const;
  [[nodiscard]] at::Tensor chunked_loss(const data::Batch& on_device) const;
  void correct_mean();
  void clip();

  models::Model model_;
  Loss loss_;
  torch::optim::Optimizer* optimizer_;
  StepOptions options_;
  nn::HasLinearHead* head_ = nullptr;  // of the model, for chunked_loss
  std::vector<at::Tensor> parameters_;
  std::optional<optim::InBackward> in_backward_;
  at::Tensor gradient_norm_;
  std::int64_t micro_batches_ = 0;
  std::int64_t items_ = 0;           // of the micro-batches that are in
  std::int64_t expected_items_ = 0;  // what their losses were divided by
};

}  // namespace athanor::train
