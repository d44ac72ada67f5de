#include "athanor/nn/LinearCrossEntropy.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <stdexcept>

#include "athanor/core/Error.h"

namespace athanor::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Task {
  LinearCrossEntropyOptions options;
  at::ScalarType compute;  // of the products
  at::ScalarType sums;     // of the loss and of accumulated gradients
  std::int64_t rows_at_once;
  bool hidden_gradient, weight_gradient, bias_gradient;
};

struct Result {
  at::Tensor loss;                  // a sum, in Task::sums
  at::Tensor hidden, weight, bias;  // gradients; undefined where not wanted
};

/// Loss of a chunk, and its logits' gradients in place of `log_probabilities`.
at::Tensor loss_of_chunk(at::Tensor& log_probabilities, const at::Tensor& targets, const at::Tensor& row_weight,
                         const Task& task) {
  const double smoothing = task.options.label_smoothing;
  const auto classes = static_cast<double>(log_probabilities.size(1));
  const auto index = targets.unsqueeze(1);
  auto row_loss = log_probabilities.gather(1, index).squeeze(1).mul_(smoothing - 1);
  if (smoothing > 0) row_loss.sub_(log_probabilities.sum(1).mul_(smoothing / classes));
  const auto loss = row_loss.mul_(row_weight.ne(0)).sum();
  if (!task.hidden_gradient && !task.weight_gradient && !task.bias_gradient) return loss;
  log_probabilities.exp_();
  if (smoothing > 0) log_probabilities.sub_(smoothing / classes);
  const auto one = at::zeros({}, row_weight.options()).sub_(1 - smoothing).expand(index.sizes());
  log_probabilities.scatter_add_(1, index, one);
  log_probabilities.mul_(row_weight.unsqueeze(1));
  return loss;
}

void add_product(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  if (sum.scalar_type() == a.scalar_type())
    sum.addmm_(a, b);
  else
    sum.add_(at::mm(a, b));
}

/// Everything, chunk by chunk. `targets` hold no ignored ones any more: their row weight is 0.
Result run(const at::Tensor& hidden, const LinearHead& head, const at::Tensor& targets, const at::Tensor& row_weight,
           const Task& task) {
  const auto weight = head.weight.to(task.compute);
  const auto bias = head.bias.defined() ? head.bias.to(task.compute) : at::Tensor();
  const auto in_sums = hidden.options().dtype(task.sums);
  Result result{at::zeros({}, in_sums), {}, {}, {}};
  if (task.hidden_gradient) result.hidden = at::empty_like(hidden);
  if (task.weight_gradient) result.weight = at::zeros(head.weight.sizes(), in_sums);
  if (task.bias_gradient) result.bias = at::zeros(head.bias.sizes(), in_sums);
  for (std::int64_t begin = 0; begin < hidden.size(0); begin += task.rows_at_once) {
    const auto rows = std::min(task.rows_at_once, hidden.size(0) - begin);
    const auto x = hidden.narrow(0, begin, rows).to(task.compute);
    auto logits = at::linear(x, weight, bias);
    auto gradient = at::log_softmax(logits, 1, task.sums);
    logits.reset();
    result.loss.add_(loss_of_chunk(gradient, targets.narrow(0, begin, rows), row_weight.narrow(0, begin, rows), task));
    if (result.bias.defined()) result.bias.add_(gradient.sum(0));
    gradient = gradient.to(task.compute);
    if (result.hidden.defined()) result.hidden.narrow(0, begin, rows).copy_(at::mm(gradient, weight));
    if (result.weight.defined()) add_product(result.weight, gradient.t(), x);
  }
  return result;
}

/// Gradients that forward has already computed, waiting for the incoming factor.
class Computed : public torch::autograd::Function<Computed> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const Result& result) {
    const auto keep = [&](const char* name, const at::Tensor& gradient, const at::Tensor& of) {
      if (gradient.defined()) context->saved_data[name] = gradient.to(of.scalar_type());
    };
    keep("hidden", result.hidden, hidden);
    keep("weight", result.weight, weight);
    if (bias) keep("bias", result.bias, *bias);
    return result.loss;
  }

  static variable_list backward(AutogradContext* context, variable_list incoming) {
    if (c10::GradMode::is_enabled())
      throw Error(
          "nn::linear_cross_entropy has no second derivative: set memory.chunked_loss = false for create_graph");
    const bool again = torch::autograd::get_current_graph_task_keep_graph();
    const auto scaled = [&](const char* name) -> at::Tensor {
      const auto found = context->saved_data.find(name);
      if (found == context->saved_data.end()) return {};
      auto gradient = found->second.toTensor();
      if (again) return gradient * incoming[0].to(gradient.scalar_type());
      context->saved_data.erase(found);
      return gradient.mul_(incoming[0].to(gradient.scalar_type()));
    };
    if (context->saved_data.empty())
      throw Error("nn::linear_cross_entropy: backward a second time; the first needs retain_graph=True");
    return {scaled("hidden"), scaled("weight"), scaled("bias"), {}};
  }
};

void check(const at::Tensor& hidden, const LinearHead& head, const at::Tensor& targets,
           const LinearCrossEntropyOptions& options) {
  const auto fail = [](const std::string& what) { throw std::invalid_argument("nn::linear_cross_entropy: " + what); };
  if (hidden.dim() < 1 || head.weight.dim() != 2 || hidden.size(-1) != head.weight.size(1))
    fail(c10::str("hidden ", hidden.sizes(), " does not fit weight ", head.weight.sizes(), " [classes, width]"));
  if (head.bias.defined() && (head.bias.dim() != 1 || head.bias.size(0) != head.weight.size(0)))
    fail(c10::str("bias ", head.bias.sizes(), " does not fit weight ", head.weight.sizes()));
  if (!targets.sizes().equals(hidden.sizes().slice(0, static_cast<std::size_t>(hidden.dim() - 1))))
    fail(c10::str("targets ", targets.sizes(), " must have the shape of hidden ", hidden.sizes(), " without its last"));
  if (targets.scalar_type() != at::kLong) fail(c10::str("targets must be int64, got ", targets.scalar_type()));
  if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1))
    fail(fmt::format("label_smoothing must be in [0, 1], got {}", options.label_smoothing));
  if (options.chunk.count <= 0) fail(fmt::format("chunk must be > 0 bytes, got {}", options.chunk.count));
}

Task plan(const at::Tensor& hidden, const LinearHead& head, const LinearCrossEntropyOptions& options) {
  const auto device = hidden.device().type();
  const bool autocast = at::autocast::is_autocast_enabled(device) && hidden.scalar_type() != at::kDouble;
  Task task{};
  task.options = options;
  task.compute = autocast ? at::autocast::get_autocast_dtype(device) : hidden.scalar_type();
  task.sums = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  task.rows_at_once = std::max<std::int64_t>(1, options.chunk.count / (4 * head.weight.size(0)));
  const bool gradients = c10::GradMode::is_enabled();
  task.hidden_gradient = gradients && hidden.requires_grad();
  task.weight_gradient = gradients && head.weight.requires_grad();
  task.bias_gradient = gradients && head.bias.defined() && head.bias.requires_grad();
  return task;
}

}  // namespace

at::Tensor linear_cross_entropy(const at::Tensor& hidden, const LinearHead& head, const at::Tensor& targets,
                                const LinearCrossEntropyOptions& options) {
  check(hidden, head, targets, options);
  const Task task = plan(hidden, head, options);
  const auto rows = hidden.reshape({-1, hidden.size(-1)});
  Result result;
  at::Tensor factor;  // of the sum, for a mean
  {
    const c10::AutoGradMode no_gradients(false);
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const auto flat = targets.reshape({-1});
    const auto counts = flat.ne(options.ignore_index);
    auto row_weight = counts.to(task.sums);
    if (options.mean) {
      factor = row_weight.sum().reciprocal_();
      row_weight = row_weight.mul_(factor).nan_to_num_(0.0, 0.0, 0.0);  // no row counts: 0 · ∞
    }
    result = run(rows.detach(), {head.weight.detach(), head.bias.defined() ? head.bias.detach() : at::Tensor()},
                 flat.masked_fill(counts.logical_not(), 0), row_weight, task);
    if (options.mean) result.loss.mul_(factor);
  }
  if (!task.hidden_gradient && !task.weight_gradient && !task.bias_gradient) return result.loss;
  return Computed::apply(rows, head.weight, head.bias.defined() ? std::optional(head.bias) : std::nullopt, result);
}

HasLinearHead* find_linear_head(torch::nn::Module& model) {
  return dynamic_cast<HasLinearHead*>(&model);
}

}  // namespace athanor::nn
