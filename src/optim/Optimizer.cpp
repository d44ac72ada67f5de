#include "athanor/optim/Optimizer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>
#include <unordered_set>

#include "optim/Method.h"

namespace athanor::optim {
namespace {

// The names of the state behind the slots that hold 8-bit codes, and of Kahan's remainder.
constexpr const char* scale_suffix = "_absmax";
constexpr const char* compensation_name = "compensation";

bool dense_grad(const at::Tensor& param) {
  const at::Tensor& grad = grad_of(param);
  return !grad.defined() || grad.layout() == at::kStrided;
}

void check_groups(const std::vector<torch::optim::OptimizerParamGroup>& groups, const char* kind) {
  std::unordered_set<const void*> seen;
  std::size_t number = 0;
  for (const auto& group : groups) {
    for (const auto& param : group.params()) {
      if (!param.defined()) throw std::invalid_argument(fmt::format("{}: parameter {} is undefined", kind, number));
      if (!seen.insert(param.unsafeGetTensorImpl()).second)
        throw std::invalid_argument(
            fmt::format("{}: parameter {} (shape {}) is there twice: a parameter belongs to one group", kind, number,
                        fmt::join(param.sizes(), "x")));
      if (!param.is_leaf())
        throw std::invalid_argument(fmt::format(
            "{}: parameter {} is not a leaf: give the optimizer the tensor that was created with requires_grad", kind,
            number));
      ++number;
    }
  }
}

// Settings are checked before LibTorch's own constructor sees them.
const std::vector<torch::optim::OptimizerParamGroup>& checked(
    const std::vector<torch::optim::OptimizerParamGroup>& groups, const AnyOptions& defaults, const char* kind) {
  defaults.check();
  check_groups(groups, kind);
  for (const auto& group : groups) {
    if (!group.has_options()) continue;
    const auto* options = dynamic_cast<const AnyOptions*>(&group.options());
    if (options == nullptr || typeid(*options) != typeid(defaults))
      throw std::invalid_argument(fmt::format(
          "{}: a parameter group has another optimizer's options; make it with optim::group(parameters, {{…}})", kind));
    options->check();
  }
  return groups;
}

}  // namespace

std::unique_ptr<torch::optim::OptimizerParamState> ParamState::clone() const {
  return std::make_unique<ParamState>(*this);
}

Optimizer::Optimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups, std::unique_ptr<AnyOptions> defaults,
                     std::unique_ptr<Method> method)
    : torch::optim::Optimizer(checked(groups, *defaults, method->kind()), defaults->clone()),
      method_(std::move(method)) {
  // LibTorch's constructor knows only its own options and replaces all others by the defaults.
  for (std::size_t g = 0; g < groups.size(); ++g)
    if (groups[g].has_options()) param_groups_[g].set_options(groups[g].options().clone());
}

void Optimizer::add_param_group(const torch::optim::OptimizerParamGroup& group) {
  auto all = param_groups_;
  all.push_back(group);
  checked(all, static_cast<const AnyOptions&>(defaults()), method_->kind());
  torch::optim::Optimizer::add_param_group(group);
  if (group.has_options()) param_groups_.back().set_options(group.options().clone());
}

Optimizer::~Optimizer() = default;

std::string Optimizer::kind() const {
  return method_->kind();
}

bool Optimizer::has_step() const {
  return method_->has_step();
}

std::vector<std::string> Optimizer::scalar_names() const {
  return method_->scalars();
}

std::vector<std::string> Optimizer::slot_names() const {
  const auto& options = static_cast<const AnyOptions&>(defaults());
  std::vector<std::string> names;
  for (const auto& slot : method_->slots(options)) names.push_back(slot.name);
  if (method_->storage(options) == nullptr) return names;
  const std::size_t count = names.size();
  for (std::size_t k = 0; k < count; ++k) names.push_back(names[k] + scale_suffix);
  names.emplace_back(compensation_name);
  return names;
}

std::int64_t Optimizer::state_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [key, state] : state()) {
    const auto& of_param = static_cast<const ParamState&>(*state);
    for (const auto& slot : of_param.slots)
      if (slot.defined()) bytes += static_cast<std::int64_t>(slot.nbytes());
    if (of_param.device_step.defined()) bytes += static_cast<std::int64_t>(of_param.device_step.nbytes());
  }
  return bytes;
}

void Optimizer::eval() {
  set_averaged(true);
}

void Optimizer::train() {
  set_averaged(false);
}

void Optimizer::set_averaged(bool averaged) {
  const at::NoGradGuard no_grad;
  follow();
  for (std::size_t g = 0; g < groups_.size(); ++g)
    method_->set_averaged(*groups_[g], static_cast<AnyOptions&>(param_groups_[g].options()), averaged);
}

void Optimizer::refresh() {
  groups_.clear();
}

// Follows what a user may have done between steps: groups or parameters added, state cleared.
void Optimizer::follow() {
  bool stale = groups_.size() != param_groups_.size() || known_states_ != state_.size();
  for (std::size_t g = 0; !stale && g < groups_.size(); ++g)
    stale = groups_[g]->entries.size() != param_groups_[g].params().size();
  if (!stale) return;
  groups_.clear();
  places_.clear();
  std::uint64_t number = 0;
  for (const auto& group : param_groups_) {
    auto cached = std::make_unique<Group>();
    for (const auto& param : group.params()) {
      const void* key = param.unsafeGetTensorImpl();
      places_[key] = {groups_.size(), cached->entries.size()};
      const auto found = state_.find(const_cast<void*>(key));
      cached->entries.push_back(
          {.param = param,
           .state = found == state_.end() ? nullptr : static_cast<ParamState*>(found->second.get()),
           .number = number++});
    }
    groups_.push_back(std::move(cached));
  }
  known_states_ = state_.size();
}

// Makes state for a parameter whose first gradient has come.
void Optimizer::begin(std::size_t group, Entry& entry) {
  if (entry.state != nullptr || !grad_of(entry.param).defined()) return;
  auto state = std::make_unique<ParamState>();
  const auto& options = static_cast<const AnyOptions&>(param_groups_[group].options());
  ensure_state(*method_, options, entry.param, *state);
  method_->initialise(*state, entry.param, options);
  entry.state = state.get();
  state_[entry.param.unsafeGetTensorImpl()] = std::move(state);
  known_states_ = state_.size();
}

void Optimizer::prepare() {
  follow();
  for (std::size_t g = 0; g < groups_.size(); ++g)
    for (auto& entry : groups_[g]->entries) begin(g, entry);
}

at::Tensor Optimizer::step(LossClosure closure) {
  at::Tensor loss;
  if (closure != nullptr && method_->step_closure(*this, closure, loss)) return loss;
  if (closure != nullptr) {
    const at::AutoGradMode enable(true);
    loss = closure();
  }
  step(Scaling{});
  return loss;
}

void Optimizer::step_parameter(const at::Tensor& parameter) {
  const at::NoGradGuard no_grad;
  follow();
  const auto place = places_.find(parameter.unsafeGetTensorImpl());
  if (place == places_.end())
    throw std::invalid_argument(
        fmt::format("{}: step_parameter of a tensor that is not one of its parameters", kind()));
  const auto [g, i] = place->second;
  Entry& entry = groups_[g]->entries[i];
  begin(g, entry);
  Pass pass{.threads = at::get_num_threads(), .only = &entry};
  method_->step(*groups_[g], static_cast<AnyOptions&>(param_groups_[g].options()), pass);
}

void Optimizer::step(const Scaling& scaling) {
  const at::NoGradGuard no_grad;
  Pass pass{.threads = at::get_num_threads()};
  prepare();
  if (scaling.found_inf.defined()) {
    bool waits = false;
    for (const auto& group : groups_)
      for (const auto& entry : group->entries)
        waits =
            waits || (entry.state != nullptr && !(method_->masks_on(entry.param.device()) && dense_grad(entry.param)));
    if (!scaling.found_inf.is_cpu() && !waits) {
      pass.device_found_inf = scaling.found_inf;
    } else if (scaling.found_inf.item<float>() != 0) {
      return;
    }
  }
  if (scaling.scale.defined()) {
    if (scaling.scale.is_cpu()) {
      pass.inverse_scale = 1.0 / scaling.scale.item<double>();
    } else {
      pass.device_scale = scaling.scale;
    }
  }
  for (std::size_t g = 0; g < groups_.size(); ++g)
    method_->step(*groups_[g], static_cast<AnyOptions&>(param_groups_[g].options()), pass);
}

}  // namespace athanor::optim
