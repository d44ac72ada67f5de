// Losses with their own CUDA kernels. Reduced ones often make the full-size loss first.
#include <ATen/core/Reduction.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include "rehearse/phantom/Elementwise.h"
#include "rehearse/phantom/Reductions.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

bool reduced(std::int64_t reduction) {
  return reduction != at::Reduction::None;
}

// The elementwise loss, then its mean or sum into `result`.
void reduce_all(const at::Tensor& loss, const at::Tensor& result) {
  reduction_scratch(result, loss, {}, false, {});
}

// mse_loss(self, target, reduction)
void mse(Call& call) {
  const std::vector<at::Tensor> inputs{call.tensor(0), call.tensor(1)};
  const auto dtype = at::result_type(inputs[0], inputs[1]);
  if (!reduced(call.integer(2))) return call.returns({elementwise(inputs, dtype)});
  auto result = call.empty({}, dtype);
  reduce_all(elementwise(inputs, dtype), result);
  call.returns({result});
}

// smooth_l1_loss(self, target, reduction, beta): the reduced result keeps the storage of a full-size one.
void smooth_l1(Call& call) {
  const std::vector<at::Tensor> inputs{call.tensor(0), call.tensor(1)};
  const auto dtype = at::result_type(inputs[0], inputs[1]);
  auto result = elementwise(inputs, dtype);
  if (reduced(call.integer(2))) {
    result = view_of(result, {}, {}, 0, result.dtype());
    reduce_all(elementwise(inputs, dtype), result);
  }
  call.returns({result});
}

// huber_loss(self, target, reduction, delta)
void huber(Call& call) {
  const std::vector<at::Tensor> inputs{call.tensor(0), call.tensor(1)};
  auto loss = elementwise(inputs, at::result_type(inputs[0], inputs[1]));
  if (!reduced(call.integer(2))) return call.returns({loss});
  auto result = call.empty({}, loss.scalar_type());
  reduce_all(loss, result);
  call.returns({result});
}

// binary_cross_entropy(self, target, weight, reduction): reduced in place of the full-size loss.
void binary_cross_entropy(Call& call) {
  auto loss = call.empty_like(call.tensor(0));
  if (reduced(call.integer(3))) {
    const auto scalar = call.empty({}, loss.scalar_type());
    reduce_all(loss, scalar);
    loss = view_of(loss, {}, {}, 0, loss.dtype());
  }
  call.returns({loss});
}

// …_backward(grad_output, self, …) that fill a zeroed gradient of self's shape.
void zeros_like_second(Call& call) {
  call.returns({at::zeros_like(call.tensor(1), LEGACY_CONTIGUOUS_MEMORY_FORMAT)});
}
void like_input(Call& call) {
  call.returns({at::empty_like(call.tensor(1), LEGACY_CONTIGUOUS_MEMORY_FORMAT)});
}

// nll_loss2d_forward(self, target, weight, reduction, ignore_index)
void nll_2d(Call& call) {
  const auto& self = call.tensor(0);
  const auto dtype = self.scalar_type();
  auto total_weight = call.empty({}, dtype);
  const auto input = self.contiguous();
  const auto target = call.tensor(1).contiguous();
  auto output =
      reduced(call.integer(3)) ? call.empty({}, dtype) : call.empty({self.size(0), self.size(2), self.size(3)}, dtype);
  call.returns({output, total_weight});
}

// multi_margin_loss(self, target, p, margin, weight, reduction)
void multi_margin(Call& call) {
  const auto& self = call.tensor(0);
  const auto rows = self.dim() < 2 ? 1 : self.size(0);
  const bool whole = reduced(call.integer(5));
  auto output = whole || self.dim() < 2 ? call.empty({}, self.scalar_type()) : call.empty({rows}, self.scalar_type());
  if (whole && self.dim() == 2) static_cast<void>(call.empty({rows}, self.scalar_type()));
  call.returns({output});
}

// multilabel_margin_loss_forward(self, target, reduction)
void multilabel_margin(Call& call) {
  const auto& self = call.tensor(0);
  const auto rows = self.dim() < 2 ? 1 : self.size(0);
  const bool whole = reduced(call.integer(2));
  auto is_target = call.empty(call.tensor(1).sizes(), self.scalar_type());
  auto output = whole || self.dim() < 2 ? call.empty({}, self.scalar_type()) : call.empty({rows}, self.scalar_type());
  if (whole && self.dim() == 2) static_cast<void>(call.empty({rows}, self.scalar_type()));
  call.returns({output, is_target});
}

// _ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, zero_infinity)
void ctc(Call& call) {
  const auto& log_probs = call.tensor(0);
  std::int64_t longest = 0;
  if (call.has(3) && !call.tensor(3).defined())
    for (const auto length : call.integers(3)) longest = std::max(longest, length);
  else
    longest = call.tensor(1).dim() == 2 ? call.tensor(1).size(1) : call.tensor(1).numel();
  const auto batch = log_probs.size(1);
  const auto lengths = call.empty({batch}, at::kLong);
  const auto target_lengths = call.empty({batch}, at::kLong);
  const auto offsets = call.empty({batch}, at::kLong);
  auto log_alpha = call.empty({batch, log_probs.size(0), 2 * longest + 1}, log_probs.scalar_type());
  auto loss = call.empty({batch}, log_probs.scalar_type());
  call.returns({loss, log_alpha});
}

// _ctc_loss_backward(grad, log_probs, targets, input_lengths, target_lengths, neg_log_likelihood, log_alpha, …)
void ctc_backward(Call& call) {
  const auto& log_probs = call.tensor(1);
  const auto log_beta = call.empty_like(call.tensor(6));
  auto gradient = call.empty(log_probs.sizes(), log_probs.scalar_type());
  call.returns({gradient});
}

// _use_cudnn_ctc_loss(log_probs, targets, input_lengths, target_lengths, blank): cuDNN takes one case of all. Lengths
// on the GPU have no values here, and PyTorch's own kernel is assumed for them.
bool cudnn_takes_ctc(const Call& call) {
  const auto& log_probs = call.tensor(0);
  const auto& targets = call.tensor(1);
  if (call.has(2) && call.tensor(2).defined()) return false;
  if (call.integer(4) != 0 || log_probs.dim() != 3 || log_probs.scalar_type() != at::kFloat || targets.dim() != 1 ||
      targets.scalar_type() != at::kInt || !targets.is_cpu())
    return false;
  const auto inputs = call.integers(2);
  const auto lengths = call.integers(3);
  for (std::size_t i = 0; i < std::min(inputs.size(), lengths.size()); ++i)
    if (inputs[i] != log_probs.size(0) || lengths[i] >= 256 || lengths[i] > inputs[i]) return false;
  return true;
}

// _cudnn_ctc_loss(log_probs, …): the gradient is made at once. The workspace is cuDNN's choice; forward and backward
// sums of the longest labels are the most it needs.
void cudnn_ctc(Call& call) {
  const auto& log_probs = call.tensor(0);
  auto gradient = call.empty(log_probs.sizes(), log_probs.scalar_type());
  auto costs = call.empty({log_probs.size(1)}, log_probs.scalar_type());
  std::int64_t longest = 0;
  for (const auto length : call.integers(3)) longest = std::max(longest, length);
  const auto sums = log_probs.size(0) * log_probs.size(1) * (2 * longest + 1) * 4;
  const auto workspace =
      call.scratch(sums, Confidence::estimate, 1, 2 * sums + static_cast<std::int64_t>(log_probs.nbytes()));
  call.returns({costs, gradient});
}

}  // namespace

void add_losses(Table& table) {
  constexpr auto cpp = "aten/src/ATen/native/Loss.cpp";
  constexpr auto cuda = "aten/src/ATen/native/cuda/Loss.cu";
  table.rule("mse_loss", &mse, cpp);
  table.rule("mse_loss_backward", &zeros_like_second, cpp);
  table.rule("smooth_l1_loss", &smooth_l1, cpp);
  table.rule("huber_loss", &huber, cpp);
  table.rule("binary_cross_entropy", &binary_cross_entropy, cuda);
  table.rule("binary_cross_entropy_backward", &like_input, cuda);
  table.rule("nll_loss2d_forward", &nll_2d, "aten/src/ATen/native/cuda/NLLLoss2d.cu");
  table.rule("nll_loss2d_backward", &zeros_like_second, "aten/src/ATen/native/cuda/NLLLoss2d.cu");
  table.rule("multi_margin_loss", &multi_margin, "aten/src/ATen/native/cuda/MultiMarginLoss.cu");
  table.rule("multi_margin_loss_backward", &like_input, "aten/src/ATen/native/cuda/MultiMarginLoss.cu");
  table.rule("multilabel_margin_loss_forward", &multilabel_margin,
             "aten/src/ATen/native/cuda/MultiLabelMarginCriterion.cu");
  table.rule("multilabel_margin_loss_backward", &zeros_like_second,
             "aten/src/ATen/native/cuda/MultiLabelMarginCriterion.cu");
  table.rule("_ctc_loss _ctc_loss.Tensor", &ctc, "aten/src/ATen/native/cuda/LossCTC.cu");
  table.rule("_ctc_loss_backward _ctc_loss_backward.Tensor", &ctc_backward, "aten/src/ATen/native/cuda/LossCTC.cu");
  constexpr auto cudnn = "aten/src/ATen/native/cudnn/LossCTC.cpp";
  table.rule(
      "_use_cudnn_ctc_loss _use_cudnn_ctc_loss.Tensor", [](Call& call) { call.returns({cudnn_takes_ctc(call)}); },
      cudnn);
  table.rule("_cudnn_ctc_loss", &cudnn_ctc, cudnn, Confidence::estimate);
  table.rule(
      "_use_miopen_ctc_loss _use_miopen_ctc_loss.Tensor", [](Call& call) { call.returns({false}); },
      "AMD's library is not in a CUDA build");
}

}  // namespace athanor::rehearse::phantom
