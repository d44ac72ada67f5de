#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

/// Learning-rate schedules: pure functions of the step. Read this header, then Decay.h, Cyclic.h, Warmup.h, Compose.h.
namespace athanor::schedule {

/// What a schedule says of one step.
struct Point {
  double lr = 0.0;
  std::optional<double> momentum = std::nullopt;  ///< Only where the schedule moves momentum (or Adam's beta1).
};

struct Rule;  // what is behind a Schedule; src/schedule/Rule.h

/// A learning-rate schedule: (step, base rate) -> rate. A value: cheap to copy, without memory, safe to share between
/// threads; the same question has the same answer whatever was asked before. Step 0 is the first optimizer step.
class Schedule {
 public:
  explicit Schedule(std::shared_ptr<const Rule> rule) : rule_(std::move(rule)) {}

  /// The rate (and momentum) of optimizer step `step` in a parameter group whose own rate is `base_lr`.
  /// Throws std::invalid_argument for a negative step, a step past `last_step()`, a base rate that is negative, not
  /// finite or below the schedule's floor (eta_min), and where a function of the caller gives no usable rate.
  [[nodiscard]] Point operator()(std::int64_t step, double base_lr) const;

  /// The kind, as in a configuration: "cosine_annealing".
  [[nodiscard]] const std::string& name() const;
  /// The last step the schedule is defined for (one_cycle: total_steps, the rate after the run's last step).
  [[nodiscard]] std::optional<std::int64_t> last_step() const;
  /// Whether points carry a momentum.
  [[nodiscard]] bool moves_momentum() const;
  /// How many steps show the whole of the schedule: a length to draw.
  [[nodiscard]] std::int64_t horizon() const;
  /// Throws std::invalid_argument if a run of `steps` steps would ask for more than the schedule has, or end before one
  /// of its milestones, so that a setting would have no effect.
  void check_length(std::int64_t steps) const;

  [[nodiscard]] const Rule& rule() const { return *rule_; }

 private:
  std::shared_ptr<const Rule> rule_;
};

/// How a rate goes from one value to another, where a schedule lets one choose.
enum class Anneal { cos, linear };

/// Any rule of one's own: (step, base rate) -> rate.
Schedule custom(std::function<double(std::int64_t step, double base_lr)> rate);

/// base_lr * factor(step). PyTorch: LambdaLR.
Schedule lambda(std::function<double(std::int64_t step)> factor);

/// base_lr * factor(1) * … * factor(step). PyTorch: MultiplicativeLR. A step costs its factors once; going back costs
/// the product anew.
Schedule multiplicative(std::function<double(std::int64_t step)> factor);

/// The base rate for ever.
Schedule fixed();

}  // namespace athanor::schedule

// The families, so that one include gives every schedule.
#include "athanor/schedule/Compose.h"          // IWYU pragma: export
#include "athanor/schedule/Cyclic.h"           // IWYU pragma: export
#include "athanor/schedule/Decay.h"            // IWYU pragma: export
#include "athanor/schedule/ReduceOnPlateau.h"  // IWYU pragma: export
#include "athanor/schedule/Warmup.h"           // IWYU pragma: export
