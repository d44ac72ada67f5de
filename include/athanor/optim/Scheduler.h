#pragma once
#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "athanor/schedule/FromConfig.h"
#include "athanor/schedule/ReduceOnPlateau.h"
#include "athanor/schedule/Schedule.h"

namespace athanor::optim {

struct SchedulerOptions {
  /// The parameter groups it moves, by index; empty: all, those added later too. Give several schedulers disjoint
  /// groups.
  std::vector<std::size_t> groups = {};
  /// Told what is probably a mistake (stepped before the optimizer ever was), and each reduction on a plateau whose
  /// `verbose` is set. Empty: nobody is told.
  std::function<void(const std::string&)> observer = {};
};

/// Binds a schedule to any torch::optim::Optimizer: it writes the rate (and momentum, or Adam's beta1) of the coming
/// step into the parameter groups, at construction for step 0 and with each `step()` for the next. Each group keeps its
/// own base rate: the one it had when the scheduler first saw it. The optimizer must outlive it. Not thread-safe.
///
///     optimizer.step();
///     scheduler.step();                                    // or scheduler.step_if(scaler.step(optimizer))
class Scheduler {
 public:
  /// Throws std::invalid_argument where the schedule cannot be: a floor above a group's base rate, a schedule that
  /// moves momentum on an optimizer without one, a group that does not exist. Nothing is changed then.
  Scheduler(torch::optim::Optimizer& optimizer, schedule::Schedule schedule, SchedulerOptions options = {});
  /// One schedule a group, in their order.
  Scheduler(torch::optim::Optimizer& optimizer, std::vector<schedule::Schedule> schedules,
            SchedulerOptions options = {});
  /// Reduction on a plateau, stepped with the metric.
  Scheduler(torch::optim::Optimizer& optimizer, schedule::ReduceOnPlateauOptions plateau,
            SchedulerOptions options = {});
  /// What a [schedule] table asks for.
  Scheduler(torch::optim::Optimizer& optimizer, const schedule::Spec& spec, SchedulerOptions options = {});

  /// After each optimizer step (or each epoch): goes on to the next step's rate. Throws std::invalid_argument for a
  /// plateau, and where the schedule has no further step; nothing is changed then.
  void step();
  /// `step()` if the optimizer did step: a step that the gradient scaler skipped does not count.
  void step_if(bool stepped);
  /// A plateau's step: takes one metric. Throws std::invalid_argument for any other schedule, and for NaN.
  void step(double metric);

  /// The rate of the coming step, by position among the scheduler's groups.
  [[nodiscard]] double lr(std::size_t group = 0) const;
  [[nodiscard]] std::vector<double> lrs() const;
  [[nodiscard]] const std::vector<double>& base_lrs() const { return base_lrs_; }
  /// Steps counted so far: the coming optimizer step's number.
  [[nodiscard]] std::int64_t step_count() const { return step_; }
  [[nodiscard]] bool is_plateau() const { return plateau_.has_value(); }

  /// Takes over groups that were added to the optimizer since (step() does it too): what rate they have now is their
  /// base.
  void adopt_groups();

  /// Everything but the schedule itself, and back: the same rates follow. Throws std::invalid_argument, before any
  /// change, if the state is another kind's or not whole. Groups the state does not know keep their own base rate.
  [[nodiscard]] nlohmann::json state() const;
  void restore(const nlohmann::json& state);

 private:
  [[nodiscard]] const schedule::Schedule& schedule_of(std::size_t position) const;
  [[nodiscard]] torch::optim::OptimizerOptions& options_of(std::size_t position) const;
  void begin();
  void ask(std::int64_t step, const std::vector<double>& base_lrs);  // fills points_, or throws and leaves groups alone
  void apply();                                                      // points_ to the groups
  void warn_if_first();

  torch::optim::Optimizer* optimizer_;
  SchedulerOptions options_;
  std::vector<schedule::Schedule> schedules_;  // one for all, or one a group; none for a plateau
  std::optional<schedule::ReduceOnPlateau> plateau_;
  std::vector<std::size_t> groups_;
  std::vector<double> base_lrs_;
  std::vector<schedule::Point> points_;  // kept, so that a step allocates nothing
  std::int64_t step_ = 0;
  std::vector<std::pair<at::Tensor, at::Tensor>> samples_;  // parameters and their copies, until the first step
};

}  // namespace athanor::optim
