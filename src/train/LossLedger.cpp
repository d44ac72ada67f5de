#include "train/LossLedger.h"

#include <ATen/ATen.h>

namespace athanor::train {

void LossLedger::count(double loss, std::int64_t items, std::int64_t step) {
  if (!std::isfinite(loss) && !bad_) bad_ = {loss, step};
  const double weighted = loss * static_cast<double>(items);
  sum_ += weighted;
  items_ += items;
  epoch_sum += weighted;
  epoch_items += items;
}

void LossLedger::add(const at::Tensor& loss, std::int64_t items, std::int64_t step) {
  if (!loss.is_cpu()) {
    kept_.push_back({loss, items, step});
  } else if (loss.scalar_type() == at::kFloat) {
    count(static_cast<double>(*loss.const_data_ptr<float>()), items, step);
  } else {
    count(loss.item<double>(), items, step);
  }
}

void LossLedger::settle() {
  if (kept_.empty()) return;
  std::vector<at::Tensor> losses;
  for (const auto& kept : kept_) losses.push_back(kept.loss);
  const auto values = at::stack(losses).to(at::kCPU, at::kDouble);
  for (std::size_t i = 0; i < kept_.size(); ++i)
    count(values.const_data_ptr<double>()[i], kept_[i].items, kept_[i].step);
  kept_.clear();
}

double LossLedger::take_mean() {
  settle();
  const double mean = items_ > 0 ? sum_ / static_cast<double>(items_) : 0.0;
  sum_ = 0;
  items_ = 0;
  return mean;
}

}  // namespace athanor::train
