// Convolutions. PyTorch's own code picks the backend and pads, slices and sums the bias; these are the backends.
#include <ATen/native/ConvUtils.h>
#include <ATen/ops/convolution_backward_native.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include "rehearse/phantom/Convolutions.h"
#include "rehearse/phantom/Products.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

using Sizes = std::vector<std::int64_t>;

at::Tensor contiguous(const at::Tensor& tensor, c10::MemoryFormat format) {
  return tensor.contiguous(format);
}

// cudnn_convolution(self, weight, padding, stride, dilation, groups, benchmark, deterministic, allow_tf32)
void forward(Call& call) {
  const auto format = at::native::cudnn_conv_suggest_memory_format(call.tensor(0), call.tensor(1));
  const auto input = contiguous(call.tensor(0), format);
  const auto filter = contiguous(call.tensor(1), format);
  const auto sizes =
      at::native::conv_output_size(input.sizes(), filter.sizes(), call.integers(2), call.integers(3), call.integers(4));
  auto output = call.empty(sizes, input.scalar_type(), format);
  const auto padding = call.integers(2);
  const auto stride = call.integers(3);
  const auto dilation = call.integers(4);
  take_cudnn_workspace(
      {Pass::forward, input, filter, output, {padding, stride, dilation, call.flag(6), call.flag(7), call.flag(8)}});
  call.returns({output});
}

// cudnn_convolution_transpose(self, weight, padding, output_padding, stride, dilation, groups, benchmark,
// deterministic, allow_tf32)
void transposed(Call& call) {
  const auto format = at::native::cudnn_conv_suggest_memory_format(call.tensor(0), call.tensor(1));
  const auto input = contiguous(call.tensor(0), format);
  const auto filter = contiguous(call.tensor(1), format);
  const auto sizes = at::native::conv_input_size(input.sizes(), filter.sizes(), call.integers(2), call.integers(3),
                                                 call.integers(4), call.integers(5), call.integer(6));
  auto output = call.empty(sizes, input.scalar_type(), format);
  const auto padding = call.integers(2);
  const auto stride = call.integers(4);
  const auto dilation = call.integers(5);
  take_cudnn_workspace(
      {Pass::data, output, filter, input, {padding, stride, dilation, call.flag(7), call.flag(8), call.flag(9)}});
  call.returns({output});
}

// cudnn_convolution_relu(self, weight, bias, stride, padding, dilation, groups) and _add_relu(self, weight, z, alpha,
// …)
void fused(Call& call) {
  const std::size_t first = call.op().schema().name() == "aten::cudnn_convolution_relu" ? 3 : 5;
  const auto format = at::native::cudnn_conv_suggest_memory_format(call.tensor(0), call.tensor(1));
  const auto input = contiguous(call.tensor(0), format);
  const auto filter = contiguous(call.tensor(1), format);
  const auto sizes = at::native::conv_output_size(input.sizes(), filter.sizes(), call.integers(first + 1),
                                                  call.integers(first), call.integers(first + 2));
  auto output = call.empty(sizes, input.scalar_type(), format);
  bound_cudnn_workspace(input, filter, output);  // cuDNN is not asked about a graph of several operations
  call.returns({output});
}

// _conv_depthwise2d(self, weight, kernel_size, bias, stride, padding, dilation), conv_depthwise3d alike: no scratch.
void depthwise(Call& call) {
  const auto input = call.tensor(0).contiguous();
  const auto filter = call.tensor(1).contiguous();
  const auto sizes = at::native::conv_output_size(call.tensor(0).sizes(), call.tensor(1).sizes(), call.integers(5),
                                                  call.integers(4), call.integers(6));
  call.returns({call.empty(sizes, input.scalar_type())});
}

// slow_conv_dilated2d/3d(self, weight, kernel_size, bias, stride, padding, dilation): one sample's columns at a time.
void dilated(Call& call) {
  const auto input = call.tensor(0).contiguous();
  const auto filter = call.tensor(1).contiguous();
  const auto sizes =
      at::native::conv_output_size(input.sizes(), filter.sizes(), call.integers(5), call.integers(4), call.integers(6));
  auto output = call.empty(sizes, input.scalar_type());
  std::int64_t columns = input.size(1) * static_cast<std::int64_t>(input.element_size());
  for (const auto length : call.integers(2)) columns *= length;
  for (std::size_t i = 2; i < sizes.size(); ++i) columns *= sizes[i];
  static_cast<void>(call.scratch(columns));
  call.returns({output});
}

// Where cuDNN is off or lacks the dtype (bfloat16 before compute capability 8.0): one sample's columns at a time.
at::Tensor columns_of(const Call& call, const at::Tensor& input, const Sizes& kernel, c10::IntArrayRef output) {
  std::int64_t rows = input.size(1);
  for (const auto length : kernel) rows *= length;
  const bool pointwise = rows == input.size(1) && output.slice(2) == input.sizes().slice(2);
  return pointwise ? at::Tensor() : call.empty({rows, output[2] * output[3]}, input.scalar_type());
}

// _slow_conv2d_forward(self, weight, kernel_size, bias, stride, padding)
void slow(Call& call) {
  const auto input = call.tensor(0).contiguous();
  const auto filter = call.tensor(1).contiguous();
  const Sizes plain{1, 1};
  const auto sizes =
      at::native::conv_output_size(input.sizes(), filter.sizes(), call.integers(5), call.integers(4), plain);
  auto output = call.empty(sizes, input.scalar_type());
  const auto columns = columns_of(call, input, call.integers(2), sizes);
  take_cublas_workspace();
  call.returns({output});
}

// _slow_conv2d_backward.grad_input(grad_output, self, weight, kernel_size, stride, padding, *, grad_input, …)
void slow_backward_out(Call& call) {
  const auto gradient = call.tensor(0).contiguous();
  call.tensor(6).resize_(call.tensor(1).sizes());
  call.tensor(7).resize_(call.tensor(2).sizes());
  call.tensor(8).resize_({gradient.size(1)});
  const auto columns = columns_of(call, call.tensor(1), call.integers(3), gradient.sizes());
  take_cublas_workspace();
  call.returns_written();
}

// _slow_conv2d_backward.output_mask(grad_output, self, weight, kernel_size, stride, padding, output_mask)
void slow_backward(Call& call) {
  const auto wanted = call.flags(6);
  const auto gradient = call.tensor(0).contiguous();
  const auto like = [&](bool want, std::size_t i) {
    return want ? call.empty(call.tensor(i).sizes(), call.tensor(i).scalar_type()) : at::Tensor();
  };
  auto grad_input = like(wanted[0], 1);
  auto grad_weight = like(wanted[1], 2);
  at::Tensor grad_bias;
  if (wanted[2]) grad_bias = call.empty({gradient.size(1)}, gradient.scalar_type());
  const auto columns = columns_of(call, call.tensor(1), call.integers(3), gradient.sizes());
  take_cublas_workspace();
  call.returns({grad_input, grad_weight, grad_bias});
}

// slow_conv_transpose3d(self, weight, kernel_size, bias, stride, padding, output_padding, dilation)
void slow_transposed(Call& call) {
  const auto input = call.tensor(0).contiguous();
  const auto filter = call.tensor(1).contiguous();
  const auto sizes = at::native::conv_input_size(input.sizes(), filter.sizes(), call.integers(5), call.integers(6),
                                                 call.integers(4), call.integers(7), 1);
  auto output = call.empty(sizes, input.scalar_type());
  std::int64_t rows = filter.size(1);
  for (const auto length : call.integers(2)) rows *= length;
  const auto columns = call.empty({rows, input.size(2) * input.size(3) * input.size(4)}, input.scalar_type());
  take_cublas_workspace();
  call.returns({output});
}

}  // namespace

void add_convolutions(Table& table) {
  constexpr auto cudnn = "aten/src/ATen/native/cudnn/ConvShared.cpp; the workspace is cuDNN's choice";
  table.shared<&at::native::convolution_backward>("convolution_backward");
  table.rule("cudnn_convolution", &forward, cudnn, Confidence::estimate);
  table.rule("cudnn_convolution_transpose", &transposed, cudnn, Confidence::estimate);
  table.rule("cudnn_convolution_relu cudnn_convolution_add_relu", &fused, cudnn, Confidence::estimate);
  table.rule("_conv_depthwise2d", &depthwise, "aten/src/ATen/native/cuda/DepthwiseConv2d.cu");
  table.rule("conv_depthwise3d", &depthwise, "aten/src/ATen/native/cuda/DepthwiseConv3d.cu");
  table.rule("_slow_conv2d_forward", &slow, "aten/src/ATen/native/cuda/ConvolutionMM2d.cu");
  table.rule("_slow_conv2d_backward.output_mask", &slow_backward, "aten/src/ATen/native/cuda/ConvolutionMM2d.cu");
  table.rule("_slow_conv2d_backward.grad_input", &slow_backward_out, "aten/src/ATen/native/cuda/ConvolutionMM2d.cu");
  table.rule("slow_conv_transpose3d", &slow_transposed, "aten/src/ATen/native/cuda/NaiveConvolutionTranspose3d.cu");
  table.rule("slow_conv_dilated2d slow_conv_dilated3d", &dilated,
             "aten/src/ATen/native/cuda/NaiveDilatedConvolution.cu");
}

}  // namespace athanor::rehearse::phantom
