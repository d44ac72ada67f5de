#include "athanor/schedule/Schedule.h"

#include <mutex>

#include "schedule/Rule.h"

namespace athanor::schedule {
namespace {

std::invalid_argument mistake(const Rule& rule, const std::string& what) {
  return std::invalid_argument("schedule::" + rule.traits.name + ": " + what);
}

// Products from 1 upwards in one order, so that a value does not depend on what was asked before.
class Product {
 public:
  explicit Product(std::function<double(std::int64_t)> factor) : factor_(std::move(factor)) {}

  double operator()(std::int64_t step, double base_lr) const {
    const std::lock_guard lock(memo_->mutex);
    if (step < memo_->step) {
      memo_->step = 0;
      memo_->product = 1.0;
    }
    while (memo_->step < step) memo_->product *= factor_(++memo_->step);
    return base_lr * memo_->product;
  }

 private:
  struct Memo {
    std::mutex mutex;
    std::int64_t step = 0;
    double product = 1.0;
  };
  std::function<double(std::int64_t)> factor_;
  std::shared_ptr<Memo> memo_ = std::make_shared<Memo>();
};

}  // namespace

Point Schedule::operator()(std::int64_t step, double base_lr) const {
  const Traits& traits = rule_->traits;
  if (step < 0) throw mistake(*rule_, fmt::format("step must be >= 0, got {}", step));
  if (!(base_lr >= 0.0) || !std::isfinite(base_lr))
    throw mistake(*rule_, fmt::format("the base rate must be a number >= 0, got {}", base_lr));
  if (base_lr < traits.floor)
    throw mistake(*rule_,
                  fmt::format("the floor (eta_min) {} lies above the base rate {} and would raise it; lower the "
                              "floor or raise the base rate",
                              traits.floor, base_lr));
  if (traits.last_step && step > *traits.last_step)
    throw mistake(*rule_, fmt::format("step {} lies past the {} steps it was made for; raise its total_steps", step,
                                      *traits.last_step));
  const Point point = rule_->at(step, base_lr);
  if (!(point.lr >= 0.0) || !std::isfinite(point.lr))
    throw mistake(*rule_, fmt::format("gives the rate {} at step {} for the base rate {}; a rate must be a number >= 0",
                                      point.lr, step, base_lr));
  return point;
}

const std::string& Schedule::name() const {
  return rule_->traits.name;
}
std::optional<std::int64_t> Schedule::last_step() const {
  return rule_->traits.last_step;
}
bool Schedule::moves_momentum() const {
  return rule_->traits.moves_momentum;
}
std::int64_t Schedule::horizon() const {
  return rule_->traits.horizon;
}

void Schedule::check_length(std::int64_t steps) const {
  const Traits& traits = rule_->traits;
  if (traits.last_step && steps > *traits.last_step)
    throw mistake(
        *rule_, fmt::format("made for {} steps, but the run has {}; raise its total_steps", *traits.last_step, steps));
  for (const auto& landmark : traits.landmarks)
    if (landmark.step >= steps)
      throw std::invalid_argument(
          fmt::format("schedule::{} (step {}) lies beyond the run's {} steps and would have no effect; lower it or "
                      "lengthen the run",
                      landmark.setting, landmark.step, steps));
}

Schedule custom(std::function<double(std::int64_t step, double base_lr)> rate) {
  if (!rate)
    throw std::invalid_argument("schedule::custom: needs a function (step, base_lr) -> rate, got an empty one");
  return make({.name = "custom"}, std::move(rate));
}

Schedule lambda(std::function<double(std::int64_t step)> factor) {
  if (!factor) throw std::invalid_argument("schedule::lambda: needs a function step -> factor, got an empty one");
  return make({.name = "lambda"},
              [factor = std::move(factor)](std::int64_t t, double base_lr) { return base_lr * factor(t); });
}

Schedule multiplicative(std::function<double(std::int64_t step)> factor) {
  if (!factor)
    throw std::invalid_argument("schedule::multiplicative: needs a function step -> factor, got an empty one");
  return make({.name = "multiplicative"}, Product(std::move(factor)));
}

Schedule fixed() {
  return make({.name = "fixed"}, [](std::int64_t, double base_lr) { return base_lr; });
}

}  // namespace athanor::schedule
