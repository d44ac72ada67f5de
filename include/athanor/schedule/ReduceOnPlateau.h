#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <vector>

namespace athanor::schedule {

enum class Mode { min, max };
enum class ThresholdMode { rel, abs };

/// One reduction, as told to an observer.
struct Reduction {
  std::int64_t observation = 0;  ///< Which observation caused it, from 1.
  std::size_t group = 0;
  double from = 0.0;
  double to = 0.0;
};

struct ReduceOnPlateauOptions {
  Mode mode = Mode::min;       ///< Whether a smaller or a larger metric is better.
  double factor = 0.1;         ///< What the rate is multiplied by; in (0, 1).
  std::int64_t patience = 10;  ///< Observations without improvement that are borne; the next one reduces; >= 0.
  bool verbose = false;        ///< Whether each reduction should be said on the log (by who holds on_reduction).
  double threshold = 1e-4;     ///< What counts as an improvement; >= 0.
  ThresholdMode threshold_mode = ThresholdMode::rel;  ///< rel: a part of |best|; abs: in the metric's unit.
  std::int64_t cooldown = 0;                          ///< Observations after a reduction that count for nothing; >= 0.
  double min_lr = 0.0;                                ///< No group goes below; >= 0.
  std::vector<double> min_lrs = {};  ///< One a parameter group instead of min_lr; empty: min_lr for all.
  double eps = 1e-8;                 ///< A reduction by no more than this is left undone; >= 0.
  std::function<void(const Reduction&)> on_reduction = {};  ///< Told each reduction that is done; may be empty.
};

/// The schedule with memory: reduces the rate once a metric no longer improves. Not thread-safe.
/// PyTorch: ReduceLROnPlateau; right where that is not: a relative threshold with a negative best metric.
class ReduceOnPlateau {
 public:
  /// Throws std::invalid_argument for options outside what their fields allow.
  explicit ReduceOnPlateau(ReduceOnPlateauOptions options = {});

  /// Takes one metric and the rate it was reached with; returns the rate to go on with.
  /// Throws std::invalid_argument, before any change, for a metric that is NaN, or infinitely good.
  [[nodiscard]] double observe(double metric, double lr);
  /// The same for one rate a parameter group, changed in place; returns whether any was reduced.
  bool observe(double metric, std::span<double> lrs);

  [[nodiscard]] const ReduceOnPlateauOptions& options() const { return options_; }
  [[nodiscard]] std::optional<double> best() const { return best_; }
  [[nodiscard]] std::int64_t bad_observations() const { return bad_; }

  /// The memory; `restore` takes it back (not the options). Throws std::invalid_argument if it is not whole.
  [[nodiscard]] nlohmann::json state() const;
  void restore(const nlohmann::json& state);

 private:
  [[nodiscard]] bool improves(double metric) const;
  bool reduce(std::span<double> lrs) const;

  ReduceOnPlateauOptions options_;
  std::optional<double> best_;
  std::int64_t observations_ = 0;
  std::int64_t bad_ = 0;
  std::int64_t cooldown_ = 0;
};

}  // namespace athanor::schedule
