#pragma once
#include <ATen/core/Tensor.h>

#include <functional>

namespace athanor::train {

/// (output, targets) -> the mean loss over the batch's items, a scalar on their device.
using Loss = std::function<at::Tensor(const at::Tensor& output, const at::Tensor& targets)>;

/// Softmax cross-entropy with class numbers: scores [N, C], [N, T, C] (a sequence: the mean over all positions) or, as
/// PyTorch lays images out, [N, C, H, W]; targets without C. Throws std::invalid_argument unless 0 <= smoothing <= 1.
Loss cross_entropy(double label_smoothing = 0.0);

/// The mean squared difference; targets are made the output's shape where only a trailing 1 differs.
Loss mean_squared_error();

}  // namespace athanor::train
