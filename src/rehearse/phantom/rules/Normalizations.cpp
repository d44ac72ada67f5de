// Batch, layer, group and RMS normalisation, and dropout.
#include <ATen/OpMathType.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>

#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

using Sizes = std::vector<std::int64_t>;

std::int64_t product(c10::IntArrayRef sizes) {
  std::int64_t count = 1;
  for (const auto size : sizes) count *= size;
  return count;
}

c10::IValue like_if(bool wanted, const Call& call, const at::Tensor& tensor) {
  return wanted ? call.empty_like(tensor) : at::Tensor();
}

// cudnn_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, epsilon)
void cudnn_forward(Call& call) {
  const auto& input = call.tensor(0);
  const auto dtype = call.tensor(1).scalar_type();
  const bool training = call.flag(5);
  auto output = call.empty(input.sizes(), input.scalar_type(), input.suggest_memory_format());
  const Sizes channels{training ? input.size(1) : 0};
  auto mean = call.empty(channels, dtype);
  auto deviation = call.empty(channels, dtype);
  auto reserve = call.empty({0}, at::kByte);  // cuDNN wants one only for fused activations, which PyTorch does not use
  call.returns({output, mean, deviation, reserve});
}

// cudnn_batch_norm_backward(input, grad_output, weight, …)
void cudnn_backward(Call& call) {
  const auto& input = call.tensor(0);
  const auto& weight = call.tensor(2);
  const auto format = input.suggest_memory_format();
  const auto gradient = call.tensor(1).contiguous(format);
  auto grad_input = call.empty(input.sizes(), input.scalar_type(), format);
  auto grad_weight = call.empty(weight.sizes(), weight.scalar_type());
  auto grad_bias = call.empty(weight.sizes(), weight.scalar_type());
  call.returns({grad_input, grad_weight, grad_bias});
}

// native_batch_norm(input, …) and its variants: statistics have their size in evaluation too, unlike on the CPU.
void batch_forward(Call& call) {
  const auto& input = call.tensor(0);
  auto output = call.empty_like(input);
  const auto dtype = at::toOpMathType(input.scalar_type());
  auto mean = call.empty({input.size(1)}, dtype);
  auto deviation = call.empty({input.size(1)}, dtype);
  std::vector<c10::IValue> results{output, mean, deviation};
  if (call.op().schema().returns().size() == 4) results.emplace_back(call.empty({0}, at::kByte));
  call.returns(std::move(results));
}

// native_batch_norm_backward(grad_out, input, weight, …, output_mask at 9); batch_norm_backward(…, mask at 9, reserve).
void batch_backward(Call& call) {
  const auto& input = call.tensor(1);
  const auto& weight = call.tensor(2);
  const auto wanted = call.flags(9);
  const auto dtype = weight.defined() ? weight.scalar_type() : at::toOpMathType(input.scalar_type());
  const auto grad_input = like_if(wanted[0], call, input);
  const auto per_channel = [&](bool on) -> c10::IValue {
    return on ? call.empty({input.size(1)}, dtype) : at::Tensor();
  };
  const auto grad_weight = per_channel(wanted[1]);
  const auto grad_bias = per_channel(wanted[2]);
  call.returns({grad_input, grad_weight, grad_bias});
}

// native_layer_norm(input, normalized_shape, weight, bias, eps)
void layer_forward(Call& call) {
  const auto input = call.tensor(0).contiguous();
  auto sizes = input.sizes().slice(0, static_cast<std::size_t>(input.dim()) - call.integers(1).size()).vec();
  const auto rows = product(sizes);
  sizes.resize(static_cast<std::size_t>(input.dim()), 1);
  auto output = call.empty_like(input);
  const auto dtype = at::toOpMathType(input.scalar_type());
  auto mean = call.empty({rows}, dtype);
  auto deviation = call.empty({rows}, dtype);
  call.returns({output, mean.view(sizes), deviation.view(sizes)});
}

// For tall, narrow inputs the gradients of weight and bias are summed in two passes over partial sums.
// Source: LaunchGammaBetaBackwardCUDAKernel.
void layer_partials(const Call& call, std::int64_t rows, std::int64_t columns, const at::Tensor& weight, bool bias) {
  constexpr std::int64_t warp = 32;
  constexpr std::int64_t rows_per_block = 32 * 8;
  constexpr std::int64_t most_blocks = 65535;
  if (rows <= 64 * 1024 || columns / warp >= traits().sm_count / 2) return;
  const auto partial_rows = std::min(most_blocks, rows / rows_per_block) * 8;
  const auto partials = call.empty({partial_rows, columns}, weight.scalar_type());
  if (bias) static_cast<void>(call.empty({partial_rows, columns}, weight.scalar_type()));
}

// native_layer_norm_backward(grad_out, input, normalized_shape, mean, rstd, weight, bias, output_mask)
void layer_backward(Call& call) {
  const auto input = call.tensor(1).contiguous();
  const auto gradient = call.tensor(0).contiguous();
  const auto wanted = call.flags(7);
  const auto columns = product(call.integers(2));
  const auto grad_input = like_if(wanted[0], call, input);
  const auto grad_weight = like_if(wanted[1] && call.has(5), call, call.tensor(5));
  const auto grad_bias = like_if(wanted[2] && call.has(6), call, call.tensor(6));
  if (columns > 0 && (wanted[1] || wanted[2]) && call.has(5))
    layer_partials(call, input.numel() / columns, columns, call.tensor(5), wanted[2]);
  call.returns({grad_input, grad_weight, grad_bias});
}

// _fused_rms_norm(input, normalized_shape, weight, eps)
void rms_forward(Call& call) {
  const auto input = call.tensor(0).contiguous();
  auto sizes = input.sizes().slice(0, static_cast<std::size_t>(input.dim()) - call.integers(1).size()).vec();
  const auto rows = product(sizes);
  sizes.resize(static_cast<std::size_t>(input.dim()), 1);
  auto output = call.empty_like(input);
  auto deviation = call.empty({rows}, at::toOpMathType(input.scalar_type()));
  call.returns({output, deviation.view(sizes)});
}

// _fused_rms_norm_backward(grad_out, input, normalized_shape, rstd, weight, output_mask)
void rms_backward(Call& call) {
  const auto input = call.tensor(1).contiguous();
  const auto gradient = call.tensor(0).contiguous();
  const auto wanted = call.flags(5);
  const auto columns = product(call.integers(2));
  const auto grad_input = like_if(wanted[0], call, input);
  const auto grad_weight = like_if(wanted[1] && call.has(4), call, call.tensor(4));
  if (columns > 0 && wanted[1] && call.has(4))
    layer_partials(call, input.numel() / columns, columns, call.tensor(4), false);
  call.returns({grad_input, grad_weight});
}

// native_group_norm(input, weight, bias, N, C, HxW, group, eps): affine inputs fold weight into two N×C tables.
void group_forward(Call& call) {
  const auto input = call.tensor(0).contiguous(call.tensor(0).suggest_memory_format());
  const auto samples = call.integer(3);
  const auto channels = call.integer(4);
  auto output = call.empty_like(input);
  const bool mixed = call.has(1) && call.tensor(1).scalar_type() != input.scalar_type();
  const auto dtype = mixed ? call.tensor(1).scalar_type() : input.scalar_type();
  auto mean = call.empty({samples, call.integer(6)}, dtype);
  auto deviation = call.empty({samples, call.integer(6)}, dtype);
  if (call.has(1) || call.has(2)) {
    const auto scale = call.empty({samples, channels}, at::toOpMathType(input.scalar_type()));
    const auto shift = call.empty({samples, channels}, at::toOpMathType(input.scalar_type()));
  }
  call.returns({output, mean, deviation});
}

// native_group_norm_backward(grad_out, input, mean, rstd, weight, N, C, HxW, group, output_mask)
void group_backward(Call& call) {
  const auto& input = call.tensor(1);
  const auto wanted = call.flags(9);
  const Sizes channels{call.integer(5), call.integer(6)};
  const auto grad_input = like_if(wanted[0], call, input);
  const auto dtype = call.has(4) ? call.tensor(4).scalar_type() : input.scalar_type();
  const c10::IValue grad_weight = wanted[1] ? call.empty({channels[1]}, dtype) : at::Tensor();
  const c10::IValue grad_bias = wanted[2] ? call.empty({channels[1]}, dtype) : at::Tensor();
  const auto sums = call.empty(channels, at::toOpMathType(input.scalar_type()));
  const auto products = call.empty(channels, at::toOpMathType(input.scalar_type()));
  call.returns({grad_input, grad_weight, grad_bias});
}

// native_dropout(input, p, train)
void dropout(Call& call) {
  const auto& input = call.tensor(0);
  if (call.has(2) && !call.flag(2)) {
    auto copy = input.clone();
    return call.returns({copy, at::ones_like(input, input.options().dtype(at::kBool))});
  }
  if (input.numel() == 0) return call.returns({input, call.empty({0}, input.scalar_type())});
  if (call.number(1) >= 1) {
    auto zeros = at::zeros_like(input);
    return call.returns({zeros, at::zeros_like(input, input.options().dtype(at::kBool))});
  }
  auto mask = call.empty_like(input, at::kBool);
  auto output = call.empty_like(input);
  call.returns({output, mask});
}

// batch_norm_stats, elementwise and reduce steps of synchronised batch norm.
void stats(Call& call) {
  const auto& input = call.tensor(0);
  const auto dtype = at::toOpMathType(input.scalar_type());
  auto mean = call.empty({input.size(1)}, dtype);
  call.returns({mean, call.empty({input.size(1)}, dtype)});
}

// batch_norm_backward_reduce(grad_out, input, mean, invstd, weight, input_g, weight_g, bias_g)
void stats_backward(Call& call) {
  const auto& mean = call.tensor(2);
  const auto channel = [&](bool wanted, c10::ScalarType dtype) {
    return wanted ? call.empty({mean.numel()}, dtype) : at::Tensor();
  };
  const auto dtype = call.has(4) ? call.tensor(4).scalar_type() : call.tensor(1).scalar_type();
  auto sums = channel(call.flag(5), mean.scalar_type());
  auto products = channel(call.flag(5), mean.scalar_type());
  auto grad_weight = channel(call.flag(6), dtype);
  call.returns({sums, products, grad_weight, channel(call.flag(7), dtype)});
}

// _weight_norm_interface(v, g, dim): the weight and the norms it was divided by, in fp32 for halves.
void weight_norm(Call& call) {
  auto weight = call.empty_like(call.tensor(0));
  call.returns({weight, call.empty_like(call.tensor(1), at::toOpMathType(call.tensor(1).scalar_type()))});
}
// _weight_norm_interface_backward(grad_w, saved_v, saved_g, saved_norms, dim)
void weight_norm_backward(Call& call) {
  auto direction = call.empty_like(call.tensor(1));
  call.returns({direction, call.empty_like(call.tensor(2))});
}

}  // namespace

void add_normalizations(Table& table) {
  constexpr auto cudnn = "aten/src/ATen/native/cudnn/BatchNorm.cpp";
  constexpr auto batch = "aten/src/ATen/native/cuda/Normalization.cu";
  constexpr auto layer = "aten/src/ATen/native/cuda/layer_norm_kernel.cu";
  constexpr auto group = "aten/src/ATen/native/cuda/group_norm_kernel.cu";
  constexpr auto drop = "aten/src/ATen/native/cuda/Dropout.cu";
  table.rule("cudnn_batch_norm", &cudnn_forward, cudnn);
  table.rule("cudnn_batch_norm_backward", &cudnn_backward, cudnn);
  table.rule("native_batch_norm _native_batch_norm_legit _native_batch_norm_legit.no_stats _batch_norm_with_update",
             &batch_forward, batch);
  table.rule("native_batch_norm_backward batch_norm_backward", &batch_backward, batch);
  table.rule("native_layer_norm", &layer_forward, layer);
  table.rule("native_layer_norm_backward", &layer_backward, layer);
  table.rule("_fused_rms_norm", &rms_forward, layer);
  table.rule("_fused_rms_norm_backward", &rms_backward, layer);
  table.rule("native_group_norm", &group_forward, group);
  table.rule("native_group_norm_backward", &group_backward, group);
  table.rule("native_dropout", &dropout, drop);
  table.rule(
      "native_dropout_backward", [](Call& call) { call.returns({call.empty_like(call.tensor(0))}); }, drop);
  table.rule(
      "_fused_dropout",
      [](Call& call) {
        auto output = call.empty_like(call.tensor(0));
        call.returns({output, call.empty_like(call.tensor(0), at::kByte)});
      },
      drop);
  table.rule(
      "_masked_scale", [](Call& call) { call.returns({call.empty_like(call.tensor(0))}); }, drop);
  table.rule("_weight_norm_interface", &weight_norm, "aten/src/ATen/native/cuda/WeightNorm.cu");
  table.rule("_weight_norm_interface_backward", &weight_norm_backward, "aten/src/ATen/native/cuda/WeightNorm.cu");
  table.rule("batch_norm_stats batch_norm_gather_stats batch_norm_gather_stats_with_counts batch_norm_update_stats",
             &stats, batch);
  table.rule("batch_norm_backward_reduce", &stats_backward, batch);
  table.rule(
      "batch_norm_backward_elemt", [](Call& call) { call.returns({call.empty_like(call.tensor(1))}); }, batch);
  table.rule(
      "batch_norm_elemt", [](Call& call) { call.returns({call.empty_like(call.tensor(0))}); }, batch);
}

}  // namespace athanor::rehearse::phantom
