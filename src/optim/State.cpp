#include "athanor/optim/State.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <stdexcept>

#include "athanor/core/Error.h"
#include "athanor/optim/Optimizer.h"
#include "optim/FieldsJson.h"
#include "optim/Method.h"

namespace athanor::optim {
namespace {

const Optimizer& ours(const torch::optim::Optimizer& optimizer) {
  const auto* own = dynamic_cast<const Optimizer*>(&optimizer);
  if (own == nullptr)
    throw std::invalid_argument(
        "optim state: only athanor::optim optimizers give their state; torch::optim's save with torch::save");
  return *own;
}

AnyOptions& options_of(const torch::optim::OptimizerParamGroup& group) {
  return const_cast<AnyOptions&>(static_cast<const AnyOptions&>(group.options()));  // visit() is for both directions
}

std::string shape(const at::Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.sizes(), ", "));
}

at::Tensor number(double value) {
  return at::scalar_tensor(value, at::kFloat);
}

// All parameters in the order of the groups, with their names.
struct Named {
  std::string name;
  at::Tensor param;
  const AnyOptions* options;
};

std::vector<Named> parameters_of(const torch::optim::Optimizer& optimizer, const std::vector<std::string>& names) {
  std::vector<Named> all;
  for (const auto& group : optimizer.param_groups())
    for (const auto& param : group.params()) {
      const std::string name = all.size() < names.size() ? names[all.size()] : std::to_string(all.size());
      all.push_back({name, param, &options_of(group)});
    }
  if (!names.empty() && names.size() != all.size())
    throw std::invalid_argument(
        fmt::format("optim state: {} names for {} parameters: give one for each, in the order of the groups",
                    names.size(), all.size()));
  return all;
}

/// Reads one parameter's state out of the tensors; nullptr if there is none of it.
class Reader {
 public:
  Reader(const State& state, const Optimizer& optimizer, const Method& method)
      : optimizer_(optimizer),
        method_(method),
        slot_names_(optimizer.slot_names()),
        scalar_names_(optimizer.scalar_names()) {
    for (const auto& [name, tensor] : state.tensors) tensors_.emplace(name, tensor);
    if (const auto found = state.scalars.find("steps"); found != state.scalars.end()) steps_ = *found;
  }

  std::unique_ptr<ParamState> read(const Named& named, const AnyOptions& options, std::size_t index) const {
    const std::string prefix = "state." + named.name + ".";
    const auto next = tensors_.lower_bound(prefix);
    if (next == tensors_.end() || !next->first.starts_with(prefix)) {
      if (steps_.is_array() && index < steps_.size() && steps_[index] > 0) refuse_missing(options, prefix);
      return nullptr;
    }
    // What it should look like: the state of a parameter of that shape without memory.
    const at::Tensor like = at::empty_strided(named.param.sizes(), named.param.strides(),
                                              named.param.options().device(at::kMeta).requires_grad(false));
    auto state = std::make_unique<ParamState>();
    ensure_state(method_, options, like, *state);
    method_.initialise(*state, like, options);
    const auto slots = method_.slots(options);
    for (std::size_t k = 0; k < state->slots.size(); ++k) {
      if (k < slots.size() && slots[k].any_shape) {
        const auto found = tensors_.find(prefix + slot_names_[k]);
        if (found != tensors_.end())
          state->slots[k] = found->second.to(named.param.options().requires_grad(false), false, true);
        continue;
      }
      if (!state->slots[k].defined()) continue;
      state->slots[k] = copy(find(prefix, slot_names_[k]), state->slots[k], named, slot_names_[k]);
    }
    for (std::size_t k = 0; k < scalar_names_.size(); ++k)
      state->scalars.at(k) = find(prefix, scalar_names_[k]).item<double>();
    if (optimizer_.has_step()) {
      state->step = static_cast<std::int64_t>(find(prefix, "step").item<double>());
    } else {
      state->step = steps_.is_array() && index < steps_.size() ? steps_[index].get<std::int64_t>() : 1;
    }
    return state;
  }

 private:
  const at::Tensor& find(const std::string& prefix, const std::string& name) const {
    const auto found = tensors_.find(prefix + name);
    if (found == tensors_.end())
      throw Error(fmt::format("optimizer state of {} lacks the tensor '{}{}'", method_.kind(), prefix, name));
    return found->second;
  }

  // Steps were made, so state that the settings want must be there.
  void refuse_missing(const AnyOptions& options, const std::string& prefix) const {
    for (const auto& slot : method_.slots(options))
      if (slot.wanted && !slot.any_shape) find(prefix, slot.name);
  }

  static at::Tensor copy(const at::Tensor& from, const at::Tensor& like, const Named& named, const std::string& slot) {
    if (from.sizes() != like.sizes())
      throw Error(
          fmt::format("optimizer state: {} of parameter '{}' has shape {} where the parameter (shape {}) wants {}",
                      slot, named.name, shape(from), shape(named.param), shape(like)));
    if ((from.scalar_type() == at::kByte) != (like.scalar_type() == at::kByte))
      throw Error(
          fmt::format("optimizer state: {} of parameter '{}' is {} where {} is wanted: 8-bit and float state do not "
                      "convert; set 'states' as it was",
                      slot, named.name, c10::toString(from.scalar_type()), c10::toString(like.scalar_type())));
    at::Tensor to = at::empty_strided(like.sizes(), like.strides(), like.options().device(named.param.device()));
    return to.copy_(from);
  }

  const Optimizer& optimizer_;
  const Method& method_;
  std::vector<std::string> slot_names_;
  std::vector<std::string> scalar_names_;
  std::map<std::string, at::Tensor> tensors_;
  nlohmann::json steps_;
};

const nlohmann::json& groups_in(const State& state, const Optimizer& optimizer) {
  const auto kind = state.scalars.find("kind");
  if (kind != state.scalars.end() && *kind != optimizer.kind())
    throw Error(fmt::format("optimizer state is of kind {}, this optimizer is {}", kind->dump(), optimizer.kind()));
  const auto groups = state.scalars.find("param_groups");
  if (groups == state.scalars.end() || !groups->is_array()) throw Error("optimizer state has no list 'param_groups'");
  if (groups->size() != optimizer.param_groups().size())
    throw Error(fmt::format("optimizer state has {} parameter groups, this optimizer {}", groups->size(),
                            optimizer.param_groups().size()));
  for (std::size_t g = 0; g < groups->size(); ++g) {
    const std::size_t own = optimizer.param_groups()[g].params().size();
    const auto& saved = (*groups)[g];
    const std::size_t there = saved.contains("params") && saved["params"].is_array() ? saved["params"].size() : 0;
    if (there != own)
      throw Error(fmt::format("optimizer state: group {} has {} parameters, this optimizer's has {}", g, there, own));
  }
  return *groups;
}

std::vector<std::string> names_in(const State& state) {
  const auto found = state.scalars.find("names");
  return found == state.scalars.end() || found->is_null() ? std::vector<std::string>{}
                                                          : found->get<std::vector<std::string>>();
}

}  // namespace

State state_of(const torch::optim::Optimizer& optimizer, const std::vector<std::string>& names) {
  const Optimizer& own = ours(optimizer);
  State result;
  const auto slot_names = own.slot_names();
  const auto scalar_names = own.scalar_names();
  auto steps = nlohmann::json::array();
  for (const auto& named : parameters_of(optimizer, names)) {
    const auto found = optimizer.state().find(named.param.unsafeGetTensorImpl());
    steps.push_back(0);
    if (found == optimizer.state().end()) continue;
    const auto& state = static_cast<const ParamState&>(*found->second);
    const std::string prefix = "state." + named.name + ".";
    const at::Tensor counted =
        state.device_step.defined() ? state.device_step.to(at::kCPU, at::kDouble).view({-1}) : at::Tensor();
    const double step = counted.defined() ? counted[0].item<double>() : static_cast<double>(state.step);
    steps.back() = static_cast<std::int64_t>(step);
    if (own.has_step()) result.tensors.emplace_back(prefix + "step", number(step));
    for (std::size_t k = 0; k < state.slots.size(); ++k)
      if (state.slots[k].defined()) result.tensors.emplace_back(prefix + slot_names[k], state.slots[k]);
    for (std::size_t k = 0; k < state.scalars.size(); ++k) {
      const auto i = static_cast<std::int64_t>(k) + 1;
      const bool on_device = counted.defined() && i < counted.numel();
      result.tensors.emplace_back(
          prefix + scalar_names[k],
          at::scalar_tensor(on_device ? counted[i].item<double>() : state.scalars[k], at::kDouble));
    }
  }
  result.scalars["kind"] = own.kind();
  auto groups = nlohmann::json::array();
  std::size_t index = 0;
  for (const auto& group : optimizer.param_groups()) {
    ToJson to;
    options_of(group).visit(to);
    auto& indices = to.json["params"] = nlohmann::json::array();
    for (std::size_t i = 0; i < group.params().size(); ++i) indices.push_back(index++);
    groups.push_back(to.json);
  }
  result.scalars["param_groups"] = groups;
  if (!names.empty()) result.scalars["names"] = names;
  if (!own.has_step()) result.scalars["steps"] = steps;
  return result;
}

void restore(torch::optim::Optimizer& optimizer, const State& state) try {
  auto& own = const_cast<Optimizer&>(ours(optimizer));
  const auto& groups = groups_in(state, own);
  // Everything is read and checked before anything is changed.
  std::vector<std::unique_ptr<torch::optim::OptimizerOptions>> options;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    options.push_back(optimizer.param_groups()[g].options().clone());
    FromJson from(groups[g]);
    auto& any = static_cast<AnyOptions&>(*options.back());
    any.visit(from);
    try {
      any.check();
    } catch (const std::invalid_argument& error) {
      throw Error(fmt::format("optimizer state, group {}: {}", g, error.what()));
    }
  }
  std::vector<std::unique_ptr<ParamState>> states;
  const auto names = names_in(state);
  const auto parameters = parameters_of(optimizer, names);
  const Reader reader(state, own, own.method());
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (std::size_t i = 0; i < optimizer.param_groups()[g].params().size(); ++i)
      states.push_back(
          reader.read(parameters[states.size()], static_cast<const AnyOptions&>(*options[g]), states.size()));
  for (std::size_t g = 0; g < groups.size(); ++g) optimizer.param_groups()[g].set_options(std::move(options[g]));
  optimizer.state().clear();
  for (std::size_t i = 0; i < states.size(); ++i)
    if (states[i]) optimizer.state()[parameters[i].param.unsafeGetTensorImpl()] = std::move(states[i]);
  own.refresh();
} catch (const nlohmann::json::exception& error) {
  throw Error(fmt::format("optimizer state: a setting has the wrong type: {}", error.what()));
}

}  // namespace athanor::optim
