#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace athanor::optim {

/// 1 if a gradient has an infinite or NaN element, else 0: a float tensor of one element on `device`. One pass that
/// reads; on a GPU nothing waits for it.
at::Tensor find_nonfinite(const std::vector<at::Tensor>& parameters, const at::Device& device);

/// Divides all gradients by `scale` (a float tensor of one element) and returns what find_nonfinite would have.
at::Tensor unscale_grads(const std::vector<at::Tensor>& parameters, const at::Tensor& scale);

}  // namespace athanor::optim
