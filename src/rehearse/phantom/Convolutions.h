#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <tuple>

#include "rehearse/phantom/Cudnn.h"

namespace athanor::rehearse::phantom {

using Two = std::tuple<at::Tensor, at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// The backends of convolution_backward, by the types of its dispatch stubs.
Two cudnn_backward(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& filter,
                   at::IntArrayRef padding, at::IntArrayRef stride, at::IntArrayRef dilation, std::int64_t,
                   bool benchmark, bool deterministic, bool tf32, std::array<bool, 2> wanted);
Two cudnn_transpose_backward(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& filter,
                             at::IntArrayRef padding, at::IntArrayRef, at::IntArrayRef stride, at::IntArrayRef dilation,
                             std::int64_t, bool benchmark, bool deterministic, bool tf32, std::array<bool, 2> wanted);
Two depthwise2d_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter, at::IntArrayRef,
                         at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, std::array<bool, 2> wanted);
Three depthwise3d_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter,
                           at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                           std::array<bool, 3> wanted);
Three dilated_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter,
                       at::IntArrayRef kernel, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                       std::array<bool, 3> wanted);

/// The scratch of one of cuDNN's convolutions. A real cuDNN says how much, if the rehearsal was given one: PyTorch
/// takes the first of its plans whose workspace there is memory for; with `benchmark` it first tries them all, once,
/// and then runs the fastest, which no rehearsal knows.
void take_cudnn_workspace(const Convolution& convolution);

/// Without a cuDNN to ask, and for what it does not plan: its tensor-core kernels work on channels-last data; given
/// anything else they keep converted copies of input, filter and output, which is the bound.
void bound_cudnn_workspace(const at::Tensor& input, const at::Tensor& filter, const at::Tensor& output);

}  // namespace athanor::rehearse::phantom
