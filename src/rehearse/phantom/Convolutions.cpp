#include "rehearse/phantom/Convolutions.h"

#include <ATen/native/ConvUtils.h>

#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Tensors.h"

namespace athanor::rehearse::phantom {

void cudnn_workspace(const at::Tensor& input, const at::Tensor& filter, const at::Tensor& output) {
  const auto channels_last = input.dim() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast;
  if (input.dim() > 3 && input.is_contiguous(channels_last)) return;
  const auto bound = static_cast<std::int64_t>(input.nbytes() + filter.nbytes() + output.nbytes());
  const auto scratch = Memory::instance().allocate({1, Confidence::estimate, 1, bound}, Guard::place());
}

namespace {

const std::uint16_t backward_name = operator_index("aten::cudnn_convolution_backward");

Two backward(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& filter, c10::MemoryFormat format,
             std::array<bool, 2> wanted) {
  const Scope scope(backward_name);
  const auto output = gradient.contiguous(format);
  at::Tensor grad_input;
  at::Tensor grad_filter;
  if (wanted[0]) {
    const auto contiguous = filter.contiguous(format);
    grad_input = make(input.sizes(), output.scalar_type(), format);
    cudnn_workspace(grad_input, contiguous, output);
  }
  if (wanted[1]) {
    const auto contiguous = input.contiguous(format);
    grad_filter = make(filter.sizes(), output.scalar_type(), format);
    cudnn_workspace(contiguous, grad_filter, output);
  }
  return {grad_input, grad_filter};
}

}  // namespace

Two cudnn_backward(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& filter, at::IntArrayRef,
                   at::IntArrayRef, at::IntArrayRef, std::int64_t, bool, bool, bool, std::array<bool, 2> wanted) {
  return backward(input, gradient, filter, at::native::cudnn_conv_suggest_memory_format(input, filter), wanted);
}

Two cudnn_transpose_backward(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& filter,
                             at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, std::int64_t, bool,
                             bool, bool, std::array<bool, 2> wanted) {
  return backward(input, gradient, filter, at::native::cudnn_conv_suggest_memory_format(input, filter), wanted);
}

Two depthwise2d_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter, at::IntArrayRef,
                         at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, std::array<bool, 2> wanted) {
  const auto output = gradient.contiguous();
  at::Tensor grad_input;
  at::Tensor grad_filter;
  if (wanted[0]) {
    const auto contiguous = filter.contiguous();
    grad_input = make(input.sizes(), output.scalar_type());
  }
  if (wanted[1]) {
    const auto contiguous = input.contiguous();
    grad_filter = make(filter.sizes(), output.scalar_type());
  }
  return {grad_input, grad_filter};
}

Three depthwise3d_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter,
                           at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                           std::array<bool, 3> wanted) {
  auto [grad_input, grad_filter] =
      depthwise2d_backward(gradient, input, filter, {}, {}, {}, {}, {wanted[0], wanted[1]});
  return {grad_input, grad_filter, at::Tensor()};
}

// One sample's unfolded columns at a time.
Three dilated_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter,
                       at::IntArrayRef kernel, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                       std::array<bool, 3> wanted) {
  const auto output = gradient.contiguous();
  const auto contiguous = input.contiguous();
  at::Tensor grad_input;
  at::Tensor grad_filter;
  at::Tensor grad_bias;
  if (wanted[0]) grad_input = make(input.sizes(), input.scalar_type());
  if (wanted[1]) grad_filter = make(filter.sizes(), filter.scalar_type());
  if (wanted[2]) grad_bias = make({filter.size(0)}, filter.scalar_type());
  std::int64_t columns = input.size(1) * static_cast<std::int64_t>(input.element_size());
  for (const auto length : kernel) columns *= length;
  for (std::int64_t i = 2; i < output.dim(); ++i) columns *= output.size(i);
  const auto scratch = Memory::instance().allocate({columns, Confidence::source}, Guard::place());
  return {grad_input, grad_filter, grad_bias};
}

}  // namespace athanor::rehearse::phantom
