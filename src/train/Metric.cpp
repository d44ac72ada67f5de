#include "athanor/train/Metric.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "athanor/core/Nearest.h"

namespace athanor::train {
namespace {

// [N, T, C] or [N, C] to [items, C]; targets to [items].
std::pair<at::Tensor, at::Tensor> flat(const at::Tensor& output, const at::Tensor& targets, const char* name) {
  if (output.dim() != targets.dim() + 1)
    throw std::invalid_argument(std::string(name) + " needs class scores [items, classes] and class targets [items]; " +
                                "got " + std::to_string(output.dim()) + " and " + std::to_string(targets.dim()) +
                                " dimensions");
  return {output.reshape({-1, output.size(-1)}), targets.reshape(-1)};
}

// Backends without fp64 sum in fp32.
at::ScalarType sum_type(const at::Tensor& like) {
  return like.device().type() == at::kMPS ? at::kFloat : at::kDouble;
}

}  // namespace

Metric accuracy() {
  return {"accuracy", [](const at::Tensor& output, const at::Tensor& targets, const at::Tensor&) {
            const auto [scores, classes] = flat(output, targets, "accuracy");
            return scores.argmax(-1).eq(classes).mean(at::kDouble);
          }};
}

Metric top_k(std::int64_t k) {
  if (k < 1) throw std::invalid_argument("train::top_k: k must be at least 1, got " + std::to_string(k));
  return {"top" + std::to_string(k), [k](const at::Tensor& output, const at::Tensor& targets, const at::Tensor&) {
            const auto [scores, classes] = flat(output, targets, "top-k");
            const auto best = std::get<1>(scores.topk(std::min(k, scores.size(-1)), -1));
            return best.eq(classes.unsqueeze(-1)).any(-1).mean(at::kDouble);
          }};
}

Metric perplexity() {
  return {"perplexity", [](const at::Tensor&, const at::Tensor&, const at::Tensor& mean_loss) { return mean_loss; },
          [](double mean) { return std::exp(mean); }, /*needs_output=*/false};
}

bool need_outputs(const std::vector<Metric>& metrics) {
  return std::ranges::any_of(metrics, &Metric::needs_output);
}

Metric metric_of_name(const std::string& name) {
  if (name == "accuracy") return accuracy();
  if (name == "top5") return top_k(5);
  if (name == "perplexity") return perplexity();
  const std::vector<std::string> names{"accuracy", "top5", "perplexity"};
  throw std::invalid_argument("no metric is called '" + name + "'" + core::suggestion(name, names));
}

void Tally::add(const at::Tensor& output, const at::Tensor& targets, const at::Tensor& mean_loss, std::int64_t items) {
  const auto type = sum_type(mean_loss);
  if (sums_.empty()) sums_.assign(metrics_.size() + 1, at::zeros({}, mean_loss.options().dtype(type)));
  sums_[0] = sums_[0] + mean_loss.detach().to(type) * items;
  for (std::size_t i = 0; i < metrics_.size(); ++i)
    sums_[i + 1] = sums_[i + 1] + metrics_[i].measure(output, targets, mean_loss).detach().to(type) * items;
  items_ += items;
}

Metrics Tally::values(const std::string& split) const {
  Metrics values;
  if (items_ == 0) return values;
  const auto sums = at::stack(sums_).cpu().to(at::kDouble);
  const auto* sum = sums.const_data_ptr<double>();
  const auto items = static_cast<double>(items_);
  values[split + "_loss"] = sum[0] / items;
  for (std::size_t i = 0; i < metrics_.size(); ++i)
    values[split + "_" + metrics_[i].name] = metrics_[i].finish(sum[i + 1] / items);
  return values;
}

}  // namespace athanor::train
