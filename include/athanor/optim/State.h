#pragma once
#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "athanor/store/Safetensors.h"

namespace athanor::optim {

/// What an optimizer remembers, in the words of PyTorch's Python `optimizer.state_dict()`.
struct State {
  /// "state.0.exp_avg", "state.0.step", …; with names "state.layer1.weight.exp_avg". The tensors are the optimizer's
  /// own, not copies: save or clone them before the next step.
  store::NamedTensors tensors;
  /// {"kind", "param_groups": [{"lr", …, "params": [0, 1, …]}], "names": […] if given}
  nlohmann::json scalars;
};

/// `names`: one a parameter, in the order of the groups; empty for numbers. Throws std::invalid_argument if the
/// optimizer is not one of ours or the count of names is wrong.
State state_of(const torch::optim::Optimizer& optimizer, const std::vector<std::string>& names = {});

/// Takes over settings and state; tensors are copied. Throws athanor::Error, before anything is changed, if the state
/// is another optimizer's, has other groups, or tensors of other shapes (both named), or lacks one.
void restore(torch::optim::Optimizer& optimizer, const State& state);

}  // namespace athanor::optim
