#include <ATen/Context.h>
#include <torch/utils.h>

#include <algorithm>

#include "athanor/core/Error.h"
#include "athanor/optim/State.h"
#include "athanor/train/Weights.h"
#include "train/Run.h"

namespace athanor::train {
namespace {

constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kExtra = "extra.safetensors";
constexpr const char* kBest = "best.safetensors";
constexpr std::string_view kAverage = "ema.";

// LibTorch's random streams: the host's, and the device's if it is another.
std::vector<std::pair<std::string, at::Generator>> generators(c10::Device device) {
  std::vector<std::pair<std::string, at::Generator>> all{
      {"rng.cpu", at::globalContext().defaultGenerator(c10::Device(c10::kCPU))}};
  if (!device.is_cpu()) all.emplace_back("rng.device", at::globalContext().defaultGenerator(device));
  return all;
}

// A parameter's name by its place in the optimizer's groups.
std::vector<std::string> names_in(const torch::optim::Optimizer& optimizer, const torch::nn::Module& model) {
  std::vector<std::string> names;
  const auto named = model.named_parameters();
  for (const auto& group : optimizer.param_groups())
    for (const auto& parameter : group.params()) {
      const auto found =
          std::find_if(named.begin(), named.end(), [&](const auto& item) { return item.value().is_same(parameter); });
      if (found == named.end()) return {};  // one that is not the model's: all go by number
      names.push_back(found->key());
    }
  return names;
}

const store::NamedTensors& file_of(const Checkpoint& checkpoint, const char* name) {
  const auto found = checkpoint.files.find(name);
  if (found == checkpoint.files.end()) throw Error(std::string("the checkpoint has no ") + name);
  return found->second;
}

// JSON has no infinity.
Metrics finite(Metrics metrics) {
  std::erase_if(metrics, [](const auto& metric) { return !std::isfinite(metric.second); });
  return metrics;
}

}  // namespace

Checkpoint Trainer::Run::snapshot() {
  Checkpoint checkpoint{.step = step_count};
  auto weights = weights_of(*model.module);
  for (auto& [name, tensor] : weights)
    if (!tensor.requires_grad()) tensor = tensor.clone();  // buffers move in the next forward pass
  checkpoint.files[kModel] = std::move(weights);
  auto optimizer_state = optim::state_of(*optimizer, names_in(*optimizer, *model.module));
  checkpoint.files[kOptimizer] = std::move(optimizer_state.tensors);
  store::NamedTensors extra;
  if (ema)
    for (auto& [name, tensor] : ema->weights()) extra.emplace_back(std::string(kAverage) + name, tensor);
  for (auto& [name, generator] : generators(options.step.device)) {
    const std::lock_guard lock(generator.mutex());
    extra.emplace_back(name, generator.get_state());
  }
  checkpoint.files[kExtra] = std::move(extra);
  if (const auto best = options.folder / kBest; stopping.best() && !options.folder.empty())
    checkpoint.links[kBest] = best;
  if (validated_step == step_count && last.contains(stopping.options().monitor))
    checkpoint.metric = last.at(stopping.options().monitor);
  losses.settle();
  auto& state = checkpoint.state;
  state = {{"step", step_count},
           {"epoch", epoch},
           {"batch", batch},
           {"validated_step", validated_step},
           {"epoch_loss_sum", losses.epoch_sum},
           {"epoch_items", losses.epoch_items},
           {"metrics", finite(last)},
           {"optimizer", std::move(optimizer_state.scalars)},
           {"early_stopping", stopping.state()}};
  if (options.scheduler) state["scheduler"] = options.scheduler->state();
  if (options.step.scaler) state["scaler"] = options.step.scaler->state();
  return checkpoint;
}

void Trainer::Run::restore(const Checkpoint& checkpoint) {
  const auto& state = checkpoint.state;
  try {
    copy_weights(file_of(checkpoint, kModel), *model.module, kModel);
    optim::restore(*optimizer, {file_of(checkpoint, kOptimizer), state.at("optimizer")});
    const std::map<std::string, at::Tensor> extra = [&] {
      const auto& tensors = file_of(checkpoint, kExtra);
      return std::map<std::string, at::Tensor>(tensors.begin(), tensors.end());
    }();
    const torch::NoGradGuard no_grad;
    if (ema) {
      const auto& weights = file_of(checkpoint, kModel);
      const std::map<std::string, at::Tensor> begin(weights.begin(), weights.end());
      for (auto& [name, tensor] : ema->weights()) {
        const auto found = extra.find(std::string(kAverage) + name);
        // A run that had no average yet begins it with the weights it has.
        tensor.copy_(found != extra.end() ? found->second : begin.at(name));
      }
    }
    for (auto& [name, generator] : generators(options.step.device))
      if (const auto found = extra.find(name); found != extra.end()) {
        const std::lock_guard lock(generator.mutex());
        generator.set_state(found->second.clone());
      }
    store::NamedTensors best;
    if (const auto found = checkpoint.files.find(kBest);
        found != checkpoint.files.end() && stopping.options().restore_best_weights)
      for (const auto& [name, tensor] : found->second) best.emplace_back(name, tensor.clone());
    stopping.restore(state.at("early_stopping"), std::move(best));
    if (options.scheduler && state.contains("scheduler")) options.scheduler->restore(state.at("scheduler"));
    if (options.step.scaler && state.contains("scaler")) options.step.scaler->restore(state.at("scaler"));
    step_count = written_step = state.at("step").get<std::int64_t>();
    epoch = state.at("epoch").get<std::int64_t>();
    batch = state.at("batch").get<std::int64_t>();
    validated_step = state.at("validated_step").get<std::int64_t>();
    losses.epoch_sum = state.at("epoch_loss_sum").get<double>();
    losses.epoch_items = state.at("epoch_items").get<std::int64_t>();
    last = state.at("metrics").get<Metrics>();
  } catch (const nlohmann::json::exception& error) {
    throw Error(std::string("the checkpoint's state.json: ") + error.what());
  }
}

}  // namespace athanor::train
