#include "train/Diagnose.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <fmt/format.h>

#include <string_view>

#include "athanor/train/Weights.h"

namespace athanor::train {
namespace {

bool finite(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_floating_point() || tensor.numel() == 0) return true;
  return tensor.isfinite().all().item<bool>();
}

// The name of the first operator with a result that is not finite; per thread, as the callback is.
thread_local std::string first_operator;
thread_local bool looking = false;

void look(const at::RecordFunction& function, at::ObserverContext*) {
  if (looking || !first_operator.empty()) return;
  if (std::string_view(function.name()).starts_with("aten::empty")) return;  // holds what was in memory before
  looking = true;                                                            // isfinite itself calls operators
  for (const auto& output : function.outputs())
    if (output.isTensor() && !finite(output.toTensor())) first_operator = function.name();
  looking = false;
}

}  // namespace

std::string non_finite_weight(const torch::nn::Module& model) {
  const at::NoGradGuard no_grad;
  const auto weights = weights_of(model);
  std::vector<at::Tensor> sums;  // of absolute values: finite where every element is, unless it overflows
  for (const auto& [name, tensor] : weights)
    if (tensor.is_floating_point() && tensor.numel() > 0) sums.push_back(tensor.detach().abs().max().to(at::kFloat));
  if (sums.empty() || finite(at::stack(sums))) return "";
  for (const auto& [name, tensor] : weights)
    if (!finite(tensor)) return name;
  return "";
}

std::string first_non_finite(const Step& step, const data::Batch& batch) {
  if (!finite(batch.inputs)) return "the batch's inputs";
  if (!finite(batch.targets)) return "the batch's targets";
  if (const auto name = non_finite_weight(*step.model().module); !name.empty())
    return fmt::format("the weight '{}'", name);
  first_operator.clear();
  const auto handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(
          [](const at::RecordFunction&) -> std::unique_ptr<at::ObserverContext> { return nullptr; }, look)
          .needsOutputs(true)
          .scopes({at::RecordScope::FUNCTION}));
  try {
    (void)step.evaluate(batch);
  } catch (...) {
    at::removeCallback(handle);
    throw;
  }
  at::removeCallback(handle);
  return first_operator.empty() ? "the loss alone (a second forward pass was finite)"
                                : fmt::format("the result of {} in the forward pass", first_operator);
}

}  // namespace athanor::train
