#include "athanor/train/EarlyStopping.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "athanor/core/Format.h"
#include "athanor/core/Nearest.h"
#include "athanor/train/Weights.h"

namespace athanor::train {
namespace {

void require(bool right, const std::string& message) {
  if (!right) throw std::invalid_argument("train::EarlyStopping: " + message);
}

void require_number(const char* name, const std::optional<double>& value) {
  require(!value || !std::isnan(*value), std::string(name) + " is not a number");
}

Verdict stop(StopReason reason, std::string message, bool improved = false) {
  return {.improved = improved, .stop = true, .reason = reason, .message = std::move(message)};
}

}  // namespace

std::string to_string(StopReason reason) {
  switch (reason) {
    case StopReason::none:
      return "none";
    case StopReason::no_improvement:
      return "no_improvement";
    case StopReason::non_finite:
      return "non_finite";
    case StopReason::threshold_reached:
      return "threshold_reached";
    case StopReason::diverged:
      return "diverged";
  }
  return "none";
}

EarlyStopping::EarlyStopping(EarlyStoppingOptions options) : options_(std::move(options)) {
  require(options_.patience >= 0, fmt::format("patience must be >= 0, got {}", options_.patience));
  require(options_.min_delta >= 0 && std::isfinite(options_.min_delta),
          fmt::format("min_delta must be >= 0 and finite, got {}", options_.min_delta));
  require(options_.start_from_epoch >= 0,
          fmt::format("start_from_epoch must be >= 0, got {}", options_.start_from_epoch));
  require_number("baseline", options_.baseline);
  require_number("stopping_threshold", options_.stopping_threshold);
  require_number("divergence_threshold", options_.divergence_threshold);
}

bool EarlyStopping::better(double metric, double than) const {
  return options_.mode == Mode::min ? metric < than : metric > than;
}

bool EarlyStopping::improves(double metric) const {
  if (!best_) return true;
  const double margin = options_.delta == Delta::absolute ? options_.min_delta : options_.min_delta * std::abs(*best_);
  return better(metric, options_.mode == Mode::min ? *best_ - margin : *best_ + margin);
}

Verdict EarlyStopping::observe(const Metrics& metrics, torch::nn::Module& model, std::int64_t epoch) {
  const auto found = metrics.find(options_.monitor);
  if (found != metrics.end()) return observe(found->second, model, epoch);
  std::vector<std::string> names;
  for (const auto& [name, value] : metrics) names.push_back(name);
  throw std::invalid_argument(fmt::format("early_stopping.monitor: there is no metric '{}'; there are: {}",
                                          options_.monitor, fmt::join(names, ", ")));
}

Verdict EarlyStopping::observe(double metric, torch::nn::Module& model, std::int64_t epoch) {
  const auto& name = options_.monitor;
  if (!std::isfinite(metric) && options_.check_finite)
    return stop(StopReason::non_finite, fmt::format("{} is {} in epoch {}", name, metric, epoch + 1));
  if (epoch < options_.start_from_epoch) return {};
  const bool improved = std::isfinite(metric) && improves(metric);
  if (improved) {
    best_ = metric;
    best_epoch_ = epoch;
    if (options_.restore_best_weights) keep(model);
  }
  if (improved && (!options_.baseline || better(metric, *options_.baseline)))
    waited_ = 0;
  else
    ++waited_;
  if (options_.stopping_threshold && better(metric, *options_.stopping_threshold))
    return stop(StopReason::threshold_reached,
                fmt::format("{} = {} is better than stopping_threshold {}", name, core::significant(metric, 4),
                            *options_.stopping_threshold),
                improved);
  if (options_.divergence_threshold && better(*options_.divergence_threshold, metric))
    return stop(StopReason::diverged,
                fmt::format("{} = {} is worse than divergence_threshold {}", name, core::significant(metric, 4),
                            *options_.divergence_threshold),
                improved);
  if (exhausted()) {
    const std::string best = best_ ? fmt::format("best {} in epoch {}", core::significant(*best_, 4), best_epoch_ + 1)
                                   : "no finite value yet";
    return stop(
        StopReason::no_improvement,
        fmt::format("{} has not improved for {} observation{} ({})", name, waited_, waited_ == 1 ? "" : "s", best),
        improved);
  }
  return {.improved = improved, .stop = false, .reason = StopReason::none, .message = {}};
}

void EarlyStopping::keep(const torch::nn::Module& model) {
  const torch::NoGradGuard no_grad;
  const auto live = weights_of(model);
  // A resume brings them in a file's order: the same memory in the model's order, or fresh memory the first time.
  std::map<std::string, at::Tensor> kept(weights_.begin(), weights_.end());
  weights_.clear();
  for (const auto& [name, tensor] : live) {
    auto& copy = kept[name];
    if (!copy.defined()) copy = torch::empty_like(tensor, tensor.options().device(torch::kCPU));
    copy.copy_(tensor);
    weights_.emplace_back(name, copy);
  }
}

bool EarlyStopping::restore_best(torch::nn::Module& model) const {
  if (weights_.empty()) return false;
  copy_weights(weights_, model, "train::EarlyStopping: the best weights");
  return true;
}

nlohmann::json EarlyStopping::state() const {
  return {
      {"best", best_ ? nlohmann::json(*best_) : nlohmann::json()}, {"best_epoch", best_epoch_}, {"waited", waited_}};
}

void EarlyStopping::restore(const nlohmann::json& state, std::vector<std::pair<std::string, at::Tensor>> best_weights) {
  best_ = state.at("best").is_null() ? std::nullopt : std::optional(state.at("best").get<double>());
  best_epoch_ = state.at("best_epoch").get<std::int64_t>();
  waited_ = state.at("waited").get<int>();
  weights_ = std::move(best_weights);
}

}  // namespace athanor::train
