#pragma once
#include <torch/nn/module.h>

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "athanor/train/Metric.h"

namespace athanor::train {

enum class Mode { min, max };
/// How min_delta is meant: in the metric's unit, or as a share of the best value's magnitude.
enum class Delta { absolute, relative };

struct EarlyStoppingOptions {
  std::string monitor = "val_loss";  ///< Which of the metrics is observed.
  int patience = 10;                 ///< Observations without improvement before stopping; 0 stops at the first.
  double min_delta = 0.0;            ///< An improvement is more than this.
  Delta delta = Delta::absolute;
  Mode mode = Mode::min;                ///< Whether a smaller or a larger metric is better.
  std::optional<double> baseline = {};  ///< Patience runs until the metric is better than this, improving or not.
  std::int64_t start_from_epoch = 0;  ///< Observations of earlier epochs count for nothing: neither best nor patience.
  bool restore_best_weights = true;   ///< Costs one copy of the weights on the host.
  std::optional<double> stopping_threshold = {};    ///< Stops, content, once the metric is better than this.
  std::optional<double> divergence_threshold = {};  ///< Stops once the metric is worse than this.
  bool check_finite = true;  ///< Stops at a metric that is not finite; else it counts as no improvement.
};

enum class StopReason { none, no_improvement, non_finite, threshold_reached, diverged };
std::string to_string(StopReason reason);

/// What one observation came to.
struct Verdict {
  bool improved = false;  ///< It is the best so far.
  bool stop = false;
  StopReason reason = StopReason::none;
  std::string message = {};  ///< For people, where it says to stop: "val_loss has not improved for 10 observations …".
};

/// Stops training once a validation metric no longer improves, and can put the best weights back. The best weights are
/// copied into the same host memory each time. Not thread-safe. Source: Prechelt, "Early Stopping — But When?", 1998;
/// the thresholds and the baseline are Lightning's and Keras's.
class EarlyStopping {
 public:
  /// Throws std::invalid_argument if patience, min_delta or start_from_epoch is negative or a number is not finite.
  explicit EarlyStopping(EarlyStoppingOptions options);

  /// Takes one validation result; the verdict says whether it was the best so far and whether to stop, and why.
  /// `epoch` counts from 0; texts for people count from 1, as the progress line does.
  [[nodiscard]] Verdict observe(double metric, torch::nn::Module& model, std::int64_t epoch);
  /// The same, picking options().monitor. Throws std::invalid_argument that lists the metrics if it is not there.
  [[nodiscard]] Verdict observe(const Metrics& metrics, torch::nn::Module& model, std::int64_t epoch);

  /// Copies the best weights and buffers into the model. False if none were kept.
  bool restore_best(torch::nn::Module& model) const;

  [[nodiscard]] std::optional<double> best() const { return best_; }
  [[nodiscard]] std::int64_t best_epoch() const { return best_epoch_; }
  /// Whether patience is used up: what a resume of a run that had stopped asks.
  [[nodiscard]] bool exhausted() const { return waited_ > 0 && waited_ >= options_.patience; }
  [[nodiscard]] const EarlyStoppingOptions& options() const { return options_; }

  /// What it has seen, without its settings: those stay the new object's at restore. The best weights are apart, as
  /// they are large: best_weights() names them as the model does; they are tensors on the host.
  [[nodiscard]] nlohmann::json state() const;
  [[nodiscard]] const std::vector<std::pair<std::string, at::Tensor>>& best_weights() const { return weights_; }
  void restore(const nlohmann::json& state, std::vector<std::pair<std::string, at::Tensor>> best_weights = {});

 private:
  [[nodiscard]] bool better(double metric, double than) const;
  [[nodiscard]] bool improves(double metric) const;
  void keep(const torch::nn::Module& model);

  EarlyStoppingOptions options_;
  std::optional<double> best_;
  std::int64_t best_epoch_ = -1;
  int waited_ = 0;
  std::vector<std::pair<std::string, at::Tensor>> weights_;
};

}  // namespace athanor::train
