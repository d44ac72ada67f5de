#include "athanor/optim/Scheduler.h"

#include <ATen/ops/equal.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <stdexcept>
#include <utility>

#include "optim/Momentum.h"

namespace athanor::optim {
namespace {

using schedule::Point;
using schedule::Schedule;

// Copies of the smallest parameters on the CPU: what shows that an optimizer without any state did step. LibTorch's SGD
// writes past the tensors' version counters. On a GPU looking would cost memory and a synchronisation.
constexpr std::int64_t kLargestSample = 1 << 16;
constexpr std::size_t kMostSamples = 4;
std::vector<std::pair<at::Tensor, at::Tensor>> samples_of(torch::optim::Optimizer& optimizer) {
  std::vector<at::Tensor> small;
  for (auto& group : optimizer.param_groups())
    for (const auto& parameter : group.params())
      if (parameter.device().is_cpu() && parameter.numel() > 0 && parameter.numel() <= kLargestSample)
        small.push_back(parameter);
  std::sort(small.begin(), small.end(), [](const auto& a, const auto& b) { return a.numel() < b.numel(); });
  if (small.size() > kMostSamples) small.resize(kMostSamples);
  std::vector<std::pair<at::Tensor, at::Tensor>> samples;
  for (const auto& parameter : small) samples.emplace_back(parameter, parameter.detach().clone());
  return samples;
}

std::vector<double> rates_of(const nlohmann::json& state, const char* key) {
  if (!state.contains(key) || !state.at(key).is_array())
    throw std::invalid_argument(fmt::format("optim::Scheduler: the saved state has no list '{}'", key));
  std::vector<double> rates;
  for (const auto& rate : state.at(key)) {
    if (!rate.is_number() || !std::isfinite(rate.get<double>()) || rate.get<double>() < 0.0)
      throw std::invalid_argument(
          fmt::format("optim::Scheduler: the saved state's '{}' holds {}, which is no rate", key, rate.dump()));
    rates.push_back(rate.get<double>());
  }
  return rates;
}

std::vector<Schedule> schedules_of(const schedule::Spec& spec) {
  if (const auto* one = std::get_if<Schedule>(&spec.rule)) return {*one};
  return {};
}

}  // namespace

Scheduler::Scheduler(torch::optim::Optimizer& optimizer, Schedule schedule, SchedulerOptions options)
    : optimizer_(&optimizer), options_(std::move(options)), schedules_{std::move(schedule)} {
  begin();
}

Scheduler::Scheduler(torch::optim::Optimizer& optimizer, std::vector<Schedule> schedules, SchedulerOptions options)
    : optimizer_(&optimizer), options_(std::move(options)), schedules_(std::move(schedules)) {
  const auto groups = options_.groups.empty() ? optimizer.param_groups().size() : options_.groups.size();
  if (schedules_.size() != groups)
    throw std::invalid_argument(fmt::format("optim::Scheduler: {} schedules for {} parameter groups; give one a group",
                                            schedules_.size(), groups));
  begin();
}

Scheduler::Scheduler(torch::optim::Optimizer& optimizer, schedule::ReduceOnPlateauOptions plateau,
                     SchedulerOptions options)
    : optimizer_(&optimizer), options_(std::move(options)) {
  // The observer is copied: a scheduler may be moved, and must not be pointed at.
  if (plateau.verbose && options_.observer)
    plateau.on_reduction = [given = plateau.on_reduction, say = options_.observer](const schedule::Reduction& done) {
      if (given) given(done);
      say(fmt::format("reduce_on_plateau: observation {}: the learning rate of group {} goes from {:.6g} to {:.6g}",
                      done.observation, done.group, done.from, done.to));
    };
  plateau_.emplace(std::move(plateau));
  begin();
}

Scheduler::Scheduler(torch::optim::Optimizer& optimizer, const schedule::Spec& spec, SchedulerOptions options)
    : Scheduler(std::holds_alternative<Schedule>(spec.rule)
                    ? Scheduler(optimizer, schedules_of(spec).front(), std::move(options))
                    : Scheduler(optimizer, std::get<schedule::ReduceOnPlateauOptions>(spec.rule), std::move(options))) {
}

void Scheduler::begin() {
  const auto count = optimizer_->param_groups().size();
  groups_ = options_.groups;
  if (groups_.empty()) {
    groups_.resize(count);
    std::iota(groups_.begin(), groups_.end(), std::size_t{0});
  }
  for (const auto group : groups_)
    if (group >= count)
      throw std::invalid_argument(
          fmt::format("optim::Scheduler: there is no parameter group {}; the optimizer has {}", group, count));
  if (std::set(groups_.begin(), groups_.end()).size() != groups_.size())
    throw std::invalid_argument("optim::Scheduler: a parameter group is named twice");
  for (std::size_t i = 0; i < groups_.size(); ++i) base_lrs_.push_back(options_of(i).get_lr());
  if (plateau_) {
    if (const auto& floors = plateau_->options().min_lrs; !floors.empty() && floors.size() != groups_.size())
      throw std::invalid_argument(fmt::format("optim::Scheduler: min_lrs has {} values for {} parameter groups",
                                              floors.size(), groups_.size()));
  } else {
    for (std::size_t i = 0; i < groups_.size(); ++i)
      if (schedule_of(i).moves_momentum() && !momentum_of(options_of(i)))
        throw std::invalid_argument(
            fmt::format("optim::Scheduler: '{}' moves momentum, but the optimizer of parameter group {} has none; set "
                        "cycle_momentum to false",
                        schedule_of(i).name(), groups_[i]));
    ask(0, base_lrs_);
    apply();
  }
  if (options_.observer) samples_ = samples_of(*optimizer_);
}

const Schedule& Scheduler::schedule_of(std::size_t position) const {
  return schedules_.size() == 1 ? schedules_.front() : schedules_.at(position);
}

torch::optim::OptimizerOptions& Scheduler::options_of(std::size_t position) const {
  return optimizer_->param_groups()[groups_[position]].options();
}

// Neighbours that share a schedule and a base rate share its answer.
void Scheduler::ask(std::int64_t step, const std::vector<double>& base_lrs) {
  const bool shared = schedules_.size() == 1;
  points_.resize(groups_.size());
  for (std::size_t i = 0; i < points_.size(); ++i)
    points_[i] = shared && i > 0 && base_lrs[i] == base_lrs[i - 1] ? points_[i - 1] : schedule_of(i)(step, base_lrs[i]);
}

void Scheduler::apply() {
  auto& groups = optimizer_->param_groups();
  for (std::size_t i = 0; i < points_.size(); ++i) {
    auto& options = groups[groups_[i]].options();
    options.set_lr(points_[i].lr);
    if (points_[i].momentum) set_momentum(options, *points_[i].momentum);
  }
}

void Scheduler::step() {
  if (plateau_) throw std::invalid_argument("optim::Scheduler: reduce_on_plateau follows a metric; call step(metric)");
  adopt_groups();
  ask(step_ + 1, base_lrs_);
  if (!samples_.empty()) warn_if_first();
  ++step_;
  apply();
}

void Scheduler::step_if(bool stepped) {
  if (stepped) step();
}

void Scheduler::step(double metric) {
  if (!plateau_)
    throw std::invalid_argument(
        fmt::format("optim::Scheduler: '{}' follows the step, not a metric; call step()", schedules_.front().name()));
  adopt_groups();
  // From the rates the groups have now, so that a change by hand, or by another scheduler, stands.
  std::vector<double> rates = lrs();
  if (plateau_->observe(metric, rates))
    for (std::size_t i = 0; i < rates.size(); ++i) options_of(i).set_lr(rates[i]);
  ++step_;
}

double Scheduler::lr(std::size_t group) const {
  if (group >= groups_.size())
    throw std::invalid_argument(
        fmt::format("optim::Scheduler: it moves {} parameter groups; there is no {}", groups_.size(), group));
  return options_of(group).get_lr();
}

std::vector<double> Scheduler::lrs() const {
  std::vector<double> rates;
  for (std::size_t i = 0; i < groups_.size(); ++i) rates.push_back(options_of(i).get_lr());
  return rates;
}

void Scheduler::adopt_groups() {
  const auto count = optimizer_->param_groups().size();
  if (!options_.groups.empty() || count <= groups_.size()) return;
  if (schedules_.size() > 1 || (plateau_ && !plateau_->options().min_lrs.empty()))
    throw std::invalid_argument(
        fmt::format("optim::Scheduler: the optimizer has {} parameter groups now, but settings for {} were given",
                    count, groups_.size()));
  const auto known = groups_.size();
  std::vector<Point> points;
  for (auto group = known; group < count; ++group) {
    auto& options = optimizer_->param_groups()[group].options();
    if (!plateau_) points.push_back(schedules_.front()(step_, options.get_lr()));
  }
  for (auto group = known; group < count; ++group) {
    auto& options = optimizer_->param_groups()[group].options();
    groups_.push_back(group);
    base_lrs_.push_back(options.get_lr());
    if (plateau_) continue;
    options.set_lr(points[group - known].lr);
    if (const auto momentum = points[group - known].momentum) set_momentum(options, *momentum);
  }
}

// An optimizer that stepped keeps state or has changed its parameters. Only the first step can be the wrong way round.
void Scheduler::warn_if_first() {
  const auto samples = std::exchange(samples_, {});
  if (!optimizer_->state().empty() || lr() == 0.0) return;
  const bool untouched = std::all_of(samples.begin(), samples.end(), [](const auto& sample) {
    return at::equal(sample.first.detach(), sample.second);
  });
  if (untouched)
    options_.observer(
        "scheduler.step() came before the optimizer's first step, so the rate of step 0 is never used; call "
        "optimizer.step() first, and step_if(stepped) where a gradient scaler may skip it");
}

nlohmann::json Scheduler::state() const {
  nlohmann::json state{
      {"kind", plateau_ ? "reduce_on_plateau" : "schedule"}, {"step", step_}, {"base_lrs", base_lrs_}, {"lrs", lrs()}};
  if (plateau_) state["plateau"] = plateau_->state();
  return state;
}

void Scheduler::restore(const nlohmann::json& state) {
  const std::string kind = plateau_ ? "reduce_on_plateau" : "schedule";
  if (!state.is_object() || !state.contains("kind") || state.at("kind") != kind)
    throw std::invalid_argument(fmt::format("optim::Scheduler: the saved state is not that of a {}", kind));
  if (!state.contains("step") || !state.at("step").is_number_integer() || state.at("step").get<std::int64_t>() < 0)
    throw std::invalid_argument("optim::Scheduler: the saved state has no count 'step'");
  auto base_lrs = rates_of(state, "base_lrs");
  const auto saved_lrs = rates_of(state, "lrs");
  if (base_lrs.size() != saved_lrs.size() || base_lrs.size() > groups_.size())
    throw std::invalid_argument(
        fmt::format("optim::Scheduler: the saved state has {} parameter groups, the optimizer {}", base_lrs.size(),
                    groups_.size()));
  base_lrs.insert(base_lrs.end(), base_lrs_.begin() + static_cast<std::ptrdiff_t>(base_lrs.size()), base_lrs_.end());
  const auto step = state.at("step").get<std::int64_t>();
  if (plateau_) {
    plateau_->restore(state.contains("plateau") ? state.at("plateau") : nlohmann::json());
    for (std::size_t i = 0; i < saved_lrs.size(); ++i) options_of(i).set_lr(saved_lrs[i]);
  } else {
    ask(step, base_lrs);
    apply();
  }
  base_lrs_ = std::move(base_lrs);
  step_ = step;
  samples_.clear();
}

}  // namespace athanor::optim
