#include "athanor/train/Weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "athanor/core/Error.h"
#include "athanor/core/Nearest.h"

namespace athanor::train {

store::NamedTensors weights_of(const torch::nn::Module& module) {
  store::NamedTensors weights;
  for (const auto& parameter : module.named_parameters()) weights.emplace_back(parameter.key(), parameter.value());
  for (const auto& buffer : module.named_buffers())
    if (buffer.value().defined()) weights.emplace_back(buffer.key(), buffer.value());
  return weights;
}

void copy_weights(const store::NamedTensors& from, torch::nn::Module& module, const std::string& origin) {
  std::map<std::string, at::Tensor> given(from.begin(), from.end());
  const auto wanted = weights_of(module);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : wanted) {
    names.push_back(name);
    const auto found = given.find(name);
    if (found == given.end())
      throw Error(
          fmt::format("{}: holds no '{}', which the model has; was it saved from another model?", origin, name));
    if (found->second.sizes() != tensor.sizes())
      throw Error(fmt::format("{}: '{}' has shape [{}], the model's has [{}]", origin, name,
                              fmt::join(found->second.sizes(), ", "), fmt::join(tensor.sizes(), ", ")));
  }
  for (const auto& [name, tensor] : from)
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw Error(fmt::format("{}: holds '{}', which the model lacks{}", origin, name, core::suggestion(name, names)));
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : wanted) tensor.copy_(given.at(name));
}

}  // namespace athanor::train
