#pragma once
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <string>
#include <vector>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

struct GroupingOptions {
  bool decay_norms_and_biases = true;  ///< false: no weight decay for parameters of fewer than two dimensions.
  double layer_decay = 1;              ///< The rate of each layer is this part of the next one's, in (0, 1].
};

/// Parameters that share their settings.
struct ParameterGroup {
  std::vector<at::Tensor> parameters;
  std::vector<std::string> names;
  bool decay = true;    ///< Whether weight decay applies.
  double lr_scale = 1;  ///< Factor of the learning rate.
};

/// The parameters of a model that require gradients, in groups. A layer is what shares the beginning of its name up to
/// the first number ("blocks.3"), or the first part of it ("head"); layers are counted in the order the model registers
/// them.
std::vector<ParameterGroup> parameter_groups(const torch::nn::Module& model, GroupingOptions options = {});

/// The groups with an optimizer's settings: `AdamW optimizer(with_options(parameter_groups(*model, {…}),
/// AdamWOptions{…}))`.
template <class Options>
std::vector<torch::optim::OptimizerParamGroup> with_options(std::vector<ParameterGroup> groups,
                                                            const Options& options) {
  std::vector<torch::optim::OptimizerParamGroup> result;
  for (auto& each : groups) {
    Options own = options;
    own.lr *= each.lr_scale;
    if constexpr (requires { own.weight_decay; }) {
      if (!each.decay) own.weight_decay = 0;
    }
    result.push_back(group(std::move(each.parameters), own));
  }
  return result;
}

/// The names of an optimizer's parameters in its own order, as state_of() wants them. Throws std::invalid_argument if a
/// parameter is not the model's.
std::vector<std::string> names_of(const torch::optim::Optimizer& optimizer, const torch::nn::Module& model);

}  // namespace athanor::optim
