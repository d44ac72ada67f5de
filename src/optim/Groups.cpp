#include "athanor/optim/Groups.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <stdexcept>

namespace athanor::optim {
namespace {

std::string layer_of(const std::string& name) {
  std::size_t begin = 0;
  while (begin < name.size()) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    const bool number = end > begin && std::all_of(name.begin() + static_cast<std::ptrdiff_t>(begin),
                                                   name.begin() + static_cast<std::ptrdiff_t>(end),
                                                   [](unsigned char c) { return std::isdigit(c) != 0; });
    if (number) return name.substr(0, end);
    begin = end + 1;
  }
  return name.substr(0, name.find('.'));
}

}  // namespace

std::vector<ParameterGroup> parameter_groups(const torch::nn::Module& model, GroupingOptions options) {
  if (!(options.layer_decay > 0 && options.layer_decay <= 1))
    throw std::invalid_argument(
        fmt::format("parameter_groups: layer_decay must be in (0, 1], got {}", options.layer_decay));
  std::vector<std::string> layers;
  const auto named = model.named_parameters();
  if (options.layer_decay < 1) {
    for (const auto& item : named) {
      const std::string layer = layer_of(item.key());
      if (std::find(layers.begin(), layers.end(), layer) == layers.end()) layers.push_back(layer);
    }
  }
  std::vector<ParameterGroup> groups;
  for (const auto& item : named) {
    if (!item.value().requires_grad()) continue;
    const bool decay = options.decay_norms_and_biases || item.value().dim() >= 2;
    double scale = 1;
    if (!layers.empty()) {
      const auto layer = std::find(layers.begin(), layers.end(), layer_of(item.key()));
      scale = std::pow(options.layer_decay, static_cast<double>(layers.end() - layer - 1));
    }
    auto fits = [&](const ParameterGroup& group) { return group.decay == decay && group.lr_scale == scale; };
    auto found = std::find_if(groups.begin(), groups.end(), fits);
    if (found == groups.end()) found = groups.insert(groups.end(), {{}, {}, decay, scale});
    found->parameters.push_back(item.value());
    found->names.push_back(item.key());
  }
  return groups;
}

std::vector<std::string> names_of(const torch::optim::Optimizer& optimizer, const torch::nn::Module& model) {
  std::map<const void*, std::string> names;
  for (const auto& item : model.named_parameters()) names.emplace(item.value().unsafeGetTensorImpl(), item.key());
  std::vector<std::string> result;
  for (const auto& group : optimizer.param_groups())
    for (const auto& param : group.params()) {
      const auto found = names.find(param.unsafeGetTensorImpl());
      if (found == names.end())
        throw std::invalid_argument(
            fmt::format("names_of: parameter {} of the optimizer is not the model's", result.size()));
      result.push_back(found->second);
    }
  return result;
}

}  // namespace athanor::optim
