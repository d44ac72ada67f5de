#include "athanor/train/Loss.h"

#include <ATen/ATen.h>

#include <stdexcept>
#include <string>

namespace athanor::train {

Loss cross_entropy(double label_smoothing) {
  if (!(label_smoothing >= 0 && label_smoothing <= 1))
    throw std::invalid_argument("train::cross_entropy: label_smoothing must be in [0, 1], got " +
                                std::to_string(label_smoothing));
  return [label_smoothing](const at::Tensor& output, const at::Tensor& targets) {
    constexpr std::int64_t kIgnored = -100;                                            // PyTorch's ignore_index
    if (output.dim() == 3 && targets.dim() == 2 && output.size(1) == targets.size(1))  // a sequence: classes come last
      return at::cross_entropy_loss(output.flatten(0, 1), targets.flatten(), {}, at::Reduction::Mean, kIgnored,
                                    label_smoothing);
    return at::cross_entropy_loss(output, targets, {}, at::Reduction::Mean, kIgnored, label_smoothing);
  };
}

Loss mean_squared_error() {
  return [](const at::Tensor& output, const at::Tensor& targets) {
    if (output.sizes() == targets.sizes()) return at::mse_loss(output, targets);
    if (output.numel() != targets.numel())
      throw std::invalid_argument("train::mean_squared_error: the output has " + std::to_string(output.numel()) +
                                  " elements, the targets " + std::to_string(targets.numel()));
    return at::mse_loss(output, targets.reshape(output.sizes()));
  };
}

}  // namespace athanor::train
