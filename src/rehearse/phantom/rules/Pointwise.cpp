// Elementwise operators that Meta does not know. Their results are TensorIterator's; their kernels allocate nothing.
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/glu_backward_jvp_native.h>
#include <ATen/ops/zeros_like.h>

#include "rehearse/phantom/Elementwise.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

c10::ScalarType real_of(c10::ScalarType dtype) {
  return c10::isComplexType(dtype) ? c10::toRealValueType(dtype) : dtype;
}

void relu(Call& call) {
  call.returns({elementwise({call.tensor(0)}, call.tensor(0).scalar_type())});
}

void angle(Call& call) {
  const auto dtype = real_of(call.tensor(0).scalar_type());
  call.returns({elementwise({call.tensor(0)}, c10::isIntegralType(dtype, true) ? at::kFloat : dtype)});
}

// _prelu_kernel_backward(grad_output, self, weight): both gradients at full size.
void prelu_backward(Call& call) {
  const std::vector<at::Tensor> inputs{call.tensor(1), call.tensor(2), call.tensor(0)};
  auto grad_input = elementwise(inputs, call.tensor(1).scalar_type());
  call.returns({grad_input, elementwise(inputs, call.tensor(1).scalar_type())});
}

// glu_backward(grad_output, self, dim)
void glu_backward(Call& call) {
  const auto& self = call.tensor(1);
  call.returns({call.empty_like(self)});
}

// The CUDA kernel needs no buffer, and gives back an empty one.
void log_sigmoid(Call& call) {
  auto output = call.empty_like(call.tensor(0));
  call.returns({output, call.empty({0}, call.tensor(0).scalar_type())});
}

void like_second(Call& call) {
  call.returns({call.empty_like(call.tensor(1))});
}

void where(Call& call) {
  const auto dtype = at::result_type(call.tensor(1), call.tensor(2));
  call.returns({elementwise({call.tensor(0), call.tensor(1), call.tensor(2)}, dtype)});
}

// rrelu_with_noise(self, noise, lower, upper, training, generator)
void rrelu(Call& call) {
  call.returns({call.empty_like(call.tensor(0))});
}

// fake_quantize_per_tensor_affine_cachemask(self, …): values as a quantised tensor would have them, and a mask of those
// within its range.
void fake_quantize(Call& call) {
  auto output = call.empty_like(call.tensor(0));
  call.returns({output, call.empty_like(call.tensor(0), at::kBool)});
}

// _fake_quantize_learnable_per_tensor_affine_backward(grad, self, scale, zero_point, …) and, with the axis at 4,
// per_channel: the gradients of scale and zero point at full size, then summed.
void learnable_backward(Call& call, bool per_channel) {
  const at::Tensor self = call.tensor(1);
  const auto grad = call.empty_like(self);
  const auto scales = call.empty_like(self);
  const auto zeros = call.empty_like(self);
  std::vector<std::int64_t> others;
  for (std::int64_t dim = 0; dim < self.dim(); ++dim)
    if (!per_channel || dim != at::maybe_wrap_dim(call.integer(4), self.dim())) others.push_back(dim);
  const auto sum = [&](const at::Tensor& of) {
    if (per_channel && others.empty()) return of;
    const auto total = of.sum(others);
    return per_channel ? total : total.unsqueeze(0);
  };
  const auto grad_scale = sum(scales);
  call.returns({grad, grad_scale, sum(zeros)});
}

// _fused_moving_avg_obs_fq_helper(self, observer_on, fake_quant_on, running_min, …, ch_axis at 10, per_row at 11): the
// extremes of the tensor or of each channel, then fake quantisation.
void observe_and_quantise(Call& call) {
  const at::Tensor self = call.tensor(0);
  const auto values = self.contiguous();
  const auto channels = call.flag(11) ? self.size(call.integer(10)) : 1;
  if (call.flag(11))
    for (const std::size_t kept : {3, 4, 5, 6}) static_cast<void>(call.tensor(kept).resize_({channels}));
  const auto least = call.empty({channels}, self.scalar_type());
  const auto most = call.empty({channels}, self.scalar_type());
  auto output = call.empty_like(self);
  call.returns({output, call.empty_like(self, at::kBool)});
}

}  // namespace

void add_pointwise(Table& table) {
  constexpr auto iterator = "aten/src/ATen/TensorIterator.cpp";
  table.rule("relu", &relu, "aten/src/ATen/native/Activation.cpp");
  table.rule(
      "hardswish hardswish_backward hardtanh hardtanh_backward floor_divide rsub.Tensor remainder.Scalar_Tensor "
      "mish_backward logit glu_jvp nan_to_num _prelu_kernel __lshift__.Tensor __lshift__.Scalar __rshift__.Tensor "
      "__rshift__.Scalar conj_physical _standard_gamma_grad _dirichlet_grad",
      &elementwise_rule, iterator);
  table.rule("isnan isinf", &elementwise_bool_rule, iterator);
  table.rule(
      "abs.out complex.out polar.out logical_and.out logical_or.out logical_xor.out logical_not.out mvlgamma.out "
      "frexp.Tensor_out huber_loss_backward.out smooth_l1_loss_backward.grad_input",
      &elementwise_out_rule, iterator);
  table.rule("angle", &angle, iterator);
  table.rule("where.self", &where, "aten/src/ATen/native/TensorCompare.cpp");
  table.rule("_prelu_kernel_backward", &prelu_backward, "aten/src/ATen/native/Activation.cpp");
  table.rule("glu_backward", &glu_backward, "aten/src/ATen/native/cuda/Activation.cpp");
  table.rule("log_sigmoid_forward", &log_sigmoid, "aten/src/ATen/native/cuda/Activation.cpp");
  table.rule("log_sigmoid_backward", &like_second, "aten/src/ATen/native/cuda/Activation.cpp");
  table.rule("rrelu_with_noise", &rrelu, "aten/src/ATen/native/cuda/RreluWithNoise.cu");
  table.rule(
      "fake_quantize_per_tensor_affine_cachemask _fake_quantize_per_tensor_affine_cachemask_tensor_qparams "
      "fake_quantize_per_channel_affine_cachemask",
      &fake_quantize, "aten/src/ATen/native/quantized/cuda/FakeQuantizeCore.cu");
  table.rule(
      "_fake_quantize_learnable_per_tensor_affine _fake_quantize_learnable_per_channel_affine",
      [](Call& call) { call.returns({call.empty_like(call.tensor(0))}); },
      "aten/src/ATen/native/quantized/FakeQuantPerTensorAffine.cpp");
  constexpr auto learnable = "aten/src/ATen/native/quantized/FakeQuantPerTensorAffine.cpp";
  table.rule(
      "_fake_quantize_learnable_per_tensor_affine_backward", [](Call& call) { learnable_backward(call, false); },
      learnable);
  table.rule(
      "_fake_quantize_learnable_per_channel_affine_backward", [](Call& call) { learnable_backward(call, true); },
      learnable);
  table.rule("_fused_moving_avg_obs_fq_helper", &observe_and_quantise,
             "aten/src/ATen/native/quantized/cuda/FusedObsFakeQuant.cu");
  table.shared<&at::native::glu_backward_jvp>("glu_backward_jvp");
  table.in_place("relu_ hardswish_ hardtanh_ rrelu_with_noise_ logit_ conj_physical_",
                 "in place: nothing is allocated");
}

}  // namespace athanor::rehearse::phantom
