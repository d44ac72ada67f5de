#pragma once
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "athanor/data/Loader.h"
#include "athanor/models/Model.h"
#include "athanor/optim/Scheduler.h"
#include "athanor/train/Checkpoint.h"
#include "athanor/train/EarlyStopping.h"
#include "athanor/train/Event.h"
#include "athanor/train/Interrupt.h"
#include "athanor/train/Metric.h"
#include "athanor/train/Step.h"

namespace athanor::train {

struct TrainerOptions {
  StepOptions step = {};                  ///< Device, precision, accumulation, clipping, scaler.
  std::int64_t max_epochs = 10;           ///< 0: no limit; one of the two must be given.
  std::int64_t max_steps = 0;             ///< Optimizer steps; 0: no limit.
  std::int64_t validate_every_steps = 0;  ///< 0: at the end of each epoch.
  std::vector<Metric> metrics = {};       ///< Besides the loss, on validation and test data.
  std::string monitor = "val_loss";       ///< What "best" means, where early stopping does not say.
  Mode mode = Mode::min;
  std::optional<EarlyStoppingOptions> early_stopping = {};  ///< Has a monitor and a mode of its own.
  double ema_decay = 0.0;  ///< Above 0: validates, tests and keeps as best the average of the weights.

  optim::Scheduler* scheduler = nullptr;  ///< Outlives the trainer.
  schedule::Interval interval = schedule::Interval::step;
  std::string plateau_monitor = {};  ///< Of a reduction on a plateau; empty: `monitor`.

  std::filesystem::path folder = {};  ///< For checkpoints/ and best.safetensors; empty: neither is written.
  CheckpointOptions checkpoint = {};
  std::int64_t checkpoint_every_steps = 0;   ///< 0: not by steps.
  std::int64_t checkpoint_every_epochs = 1;  ///< 0: not by epochs. The end of a run always writes one.

  std::int64_t log_every_steps = 20;
  std::vector<Observer> observers = {};
  const Interrupt* interrupt = nullptr;  ///< Looked at after every step and every batch of a validation.
};

enum class Status { finished, early_stopped, interrupted, diverged, failed };
std::string to_string(Status status);

struct Outcome {
  Status status = Status::finished;
  std::string reason = {};  ///< For people; empty if it simply finished.
  std::int64_t steps = 0;   ///< Optimizer steps of the whole run, those before a resume included.
  std::int64_t epochs = 0;  ///< Whole passes over the data.
  struct Best {
    std::string metric;
    double value = 0;
    std::int64_t epoch = 0;
  };
  std::optional<Best> best = {};
  Metrics final = {};  ///< The last of each metric, among them train_loss of the last epoch.
  double seconds = 0;
};

/// The loop: epochs over a loader, optimizer steps, schedule, validation, early stopping, checkpoints, in this order,
/// with nothing between two steps that waits for the device. The losses are those of the same loop written by hand, to
/// the bit. Read Trainer.cpp from `fit` on. Not thread-safe.
class Trainer {
 public:
  /// The optimizer outlives the trainer. Throws std::invalid_argument for settings out of range.
  Trainer(models::Model model, Loss loss, torch::optim::Optimizer& optimizer, TrainerOptions options = {});
  ~Trainer();

  /// Trains until an end is reached; with early stopping that restores, the best weights are in the model then.
  /// Throws athanor::Error if a checkpoint or a log cannot be written; the last good checkpoint is then as it was.
  Outcome fit(data::Loader& train, data::Loader* validation = nullptr);

  /// Goes on where a checkpoint was written; the next fit then takes the same steps, to the bit, as if it had never
  /// stopped: weights, optimizer, schedule, scaler, early stopping, average, random streams, place in the data.
  /// Settings stay the trainer's. Throws athanor::Error if it is another model's or optimizer's.
  void restore(const Checkpoint& checkpoint);
  /// restore(the newest whole checkpoint of options.folder); false if there is none. `warn` is told the damaged ones.
  bool resume(const std::function<void(const std::string&)>& warn = {});
  /// What a checkpoint now would hold; live tensors.
  [[nodiscard]] Checkpoint snapshot();

  /// Loss and metrics over a loader, as split_metric, in eval mode and without gradients.
  Metrics evaluate(data::Loader& loader, const std::string& split);

  [[nodiscard]] std::int64_t step_count() const;

 private:
  struct Run;
  std::unique_ptr<Run> run_;
};

}  // namespace athanor::train
