#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace athanor::optim {

struct ClipNormOptions {
  double norm_type = 2;  ///< 1, 2, …; infinity is the largest magnitude.
  bool error_if_nonfinite =
      false;  ///< Throws athanor::Error if the norm is NaN or infinite. On a GPU this waits for it.
};

/// Scales all gradients by one factor so that the norm of them all together is at most `max_norm`; returns the norm
/// before, as a tensor of one element on the first gradient's device (reading it waits for the device, nothing else
/// does). Parameters without a gradient are skipped. Equal to torch.nn.utils.clip_grad_norm_.
at::Tensor clip_grad_norm(const std::vector<at::Tensor>& parameters, double max_norm, ClipNormOptions options = {});

/// Limits every element of every gradient to [-clip_value, clip_value]. Equal to torch.nn.utils.clip_grad_value_.
void clip_grad_value(const std::vector<at::Tensor>& parameters, double clip_value);

}  // namespace athanor::optim
