#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <tuple>

namespace athanor::rehearse::phantom {

using Two = std::tuple<at::Tensor, at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// The backends of convolution_backward, by the types of its dispatch stubs.
Two cudnn_backward(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& filter, at::IntArrayRef,
                   at::IntArrayRef, at::IntArrayRef, std::int64_t, bool, bool, bool, std::array<bool, 2> wanted);
Two cudnn_transpose_backward(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& filter,
                             at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, std::int64_t, bool,
                             bool, bool, std::array<bool, 2> wanted);
Two depthwise2d_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter, at::IntArrayRef,
                         at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, std::array<bool, 2> wanted);
Three depthwise3d_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter,
                           at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                           std::array<bool, 3> wanted);
Three dilated_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter,
                       at::IntArrayRef kernel, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                       std::array<bool, 3> wanted);

/// cuDNN chooses an algorithm by its own heuristics, and with it the scratch it wants. Its tensor-core kernels work on
/// channels-last data: given anything else they keep converted copies of input, filter and output, which is the bound.
void cudnn_workspace(const at::Tensor& input, const at::Tensor& filter, const at::Tensor& output);

}  // namespace athanor::rehearse::phantom
