#include "athanor/amp/GradScaler.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <stdexcept>

#include "athanor/optim/Clip.h"
#include "athanor/optim/Nonfinite.h"
#include "athanor/optim/Optimizer.h"

namespace athanor::amp {
namespace {

std::vector<at::Tensor> all_parameters(const torch::optim::Optimizer& optimizer) {
  std::vector<at::Tensor> all;
  for (const auto& group : optimizer.param_groups())
    all.insert(all.end(), group.params().begin(), group.params().end());
  return all;
}

[[noreturn]] void wrong_order(const std::string& what) {
  throw std::logic_error("GradScaler: " + what);
}

}  // namespace

Stepped::operator bool() const {
  return found_inf_.defined() ? found_inf_.item<float>() == 0 : made_;
}

GradScaler::GradScaler(GradScalerOptions options) : options_(options), initial_scale_(options.init_scale) {
  const auto check = [](bool fine, const char* name, const char* range, double value) {
    if (!fine) throw std::invalid_argument(fmt::format("GradScaler: {} must be {}, got {}", name, range, value));
  };
  check(options.init_scale > 0 && std::isfinite(options.init_scale), "init_scale", "> 0", options.init_scale);
  check(options.growth_factor > 1, "growth_factor", "> 1", options.growth_factor);
  check(options.backoff_factor > 0 && options.backoff_factor < 1, "backoff_factor", "in (0, 1)",
        options.backoff_factor);
  check(options.growth_interval > 0, "growth_interval", "> 0", static_cast<double>(options.growth_interval));
}

void GradScaler::place(const at::Device& device) {
  if (scale_.defined()) return;
  scale_ = at::full({}, initial_scale_, at::TensorOptions(at::kFloat).device(device));
  tracker_ = at::full({}, initial_tracker_, at::TensorOptions(at::kInt).device(device));
}

at::Tensor GradScaler::scale(const at::Tensor& loss) {
  if (!options_.enabled) return loss;
  place(loss.device());
  return loss * scale_.to(loss.device(), loss.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

void GradScaler::unscale(torch::optim::Optimizer& optimizer) {
  if (!options_.enabled) return;
  auto& own = stage_of(optimizer);
  if (own.stage == Stage::unscaled) wrong_order("unscale was already called on this optimizer since the last update");
  if (own.stage == Stage::stepped) wrong_order("unscale is called after step");
  if (!scale_.defined()) wrong_order("unscale before scale(loss): there is no scale yet");
  const at::NoGradGuard no_grad;
  own.found_inf = optim::unscale_grads(all_parameters(optimizer), scale_);
  own.stage = Stage::unscaled;
}

Stepped GradScaler::step(torch::optim::Optimizer& optimizer) {
  if (!options_.enabled) {
    optimizer.step();
    return Stepped(true);
  }
  auto* ours = dynamic_cast<optim::Optimizer*>(&optimizer);
  auto& own = stage_of(optimizer);
  if (own.stage == Stage::stepped) wrong_order("step was already called on this optimizer since the last update");
  if (!scale_.defined()) wrong_order("step before scale(loss): there is no scale yet");
  if (ours == nullptr && own.stage == Stage::ready) unscale(optimizer);
  const bool unscaled = own.stage == Stage::unscaled;
  if (!unscaled) {
    const at::NoGradGuard no_grad;
    own.found_inf = optim::find_nonfinite(all_parameters(optimizer), scale_.device());
  }
  own.stage = Stage::stepped;
  if (ours != nullptr) {
    ours->step({.scale = unscaled ? at::Tensor() : scale_, .found_inf = own.found_inf});
    if (!own.found_inf.is_cpu()) return Stepped(own.found_inf);
    return Stepped(own.found_inf.item<float>() == 0);
  }
  const bool fine = own.found_inf.item<float>() == 0;
  if (fine) optimizer.step();
  return Stepped(fine);
}

void GradScaler::update() {
  if (!options_.enabled) return;
  const at::NoGradGuard no_grad;
  at::Tensor found;
  for (const auto& [optimizer, own] : optimizers_)
    if (own.found_inf.defined())
      found = found.defined() ? found + own.found_inf.to(scale_.device()) : own.found_inf.clone();
  if (!found.defined()) wrong_order("update before a step: no optimizer's gradients were checked");
  at::_amp_update_scale_(scale_, tracker_, found.to(scale_.device()), options_.growth_factor, options_.backoff_factor,
                         options_.growth_interval);
  optimizers_.clear();
}

void GradScaler::update(double new_scale) {
  if (!options_.enabled) return;
  if (!(new_scale > 0) || !std::isfinite(new_scale))
    throw std::invalid_argument(fmt::format("GradScaler: the new scale must be > 0, got {}", new_scale));
  initial_scale_ = new_scale;
  if (scale_.defined()) scale_.fill_(new_scale);
  optimizers_.clear();
}

double GradScaler::scale() const {
  if (!options_.enabled) return 1;
  return scale_.defined() ? scale_.item<double>() : initial_scale_;
}

std::string GradScaler::explain(const torch::optim::Optimizer& optimizer, const std::vector<std::string>& names) const {
  std::size_t i = 0;
  for (const auto& param : all_parameters(optimizer)) {
    const std::size_t at = i++;
    const at::Tensor grad = param.grad();
    if (!grad.defined() || grad.isfinite().all().item<bool>()) continue;
    const std::string name = at < names.size() ? names[at] : fmt::format("parameter {}", at);
    const bool nan = grad.isnan().any().item<bool>();
    const double now = scale();
    const char* cause =
        now < 1 ? "the scale is below 1, so it is the model or its input that makes it, not the scale: look "
                  "for a division by 0, a log of 0, or float16 overflow in the forward pass"
                : "the scale is lowered and training goes on";
    return fmt::format("the gradient of {} is the first that has {} (scale {}); {}", name, nan ? "NaN" : "infinity",
                       now, cause);
  }
  return "";
}

nlohmann::json GradScaler::state() const {
  if (!options_.enabled) return nlohmann::json::object();
  return {{"scale", scale()},
          {"growth_factor", options_.growth_factor},
          {"backoff_factor", options_.backoff_factor},
          {"growth_interval", options_.growth_interval},
          {"_growth_tracker", tracker_.defined() ? tracker_.item<std::int64_t>() : initial_tracker_}};
}

void GradScaler::restore(const nlohmann::json& state) {
  if (!options_.enabled) return;
  if (!state.is_object() || !state.contains("scale") || !state["scale"].is_number() ||
      !(state["scale"].get<double>() > 0))
    throw std::invalid_argument("GradScaler: the state has no scale > 0");
  initial_scale_ = state["scale"].get<double>();
  initial_tracker_ = state.value("_growth_tracker", std::int64_t{0});
  if (scale_.defined()) {
    scale_.fill_(initial_scale_);
    tracker_.fill_(initial_tracker_);
  }
  optimizers_.clear();
}

}  // namespace athanor::amp
