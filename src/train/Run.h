#pragma once
#include <chrono>
#include <memory>
#include <optional>

#include "athanor/train/Ema.h"
#include "athanor/train/Trainer.h"
#include "train/LossLedger.h"

namespace athanor::train {

/// What a trainer is while it runs: its parts, and where in the data it is.
struct Trainer::Run {
  Run(models::Model model, Loss loss, torch::optim::Optimizer& optimizer, TrainerOptions options);

  // The loop, in the order in which fit() calls it: Trainer.cpp.
  void begin(const data::Loader& train);
  void one_batch(const data::Batch& batch, const data::Loader& train);
  void end_of_step();
  void end_of_epoch();
  Outcome end();

  // What the loop is made of: Run.cpp.
  void validate();
  void observe(const Metrics& metrics);
  Metrics evaluate(data::Loader& loader, const std::string& split);
  void write_best();
  void write_checkpoint();
  Checkpoint snapshot();
  void restore(const Checkpoint& checkpoint);
  void stop(Status status, std::string reason = {});
  void stop_interrupted();
  bool diverged(const data::Batch* batch);
  [[nodiscard]] bool interrupted() const { return options.interrupt && options.interrupt->signal() != 0; }

  // Telling others: RunEvents.cpp.
  [[nodiscard]] Event event(Event::Kind kind) const;
  void tell(const Event& event) const;
  void note(std::string message) const;
  void log_step();
  void tick();

  models::Model model;
  torch::optim::Optimizer* optimizer;
  TrainerOptions options;
  Step step;
  EarlyStopping stopping;  // without options.early_stopping it only remembers the best
  std::optional<Ema> ema;
  std::optional<CheckpointFolder> folder;
  data::Loader* validation = nullptr;

  std::int64_t epoch = 0;
  std::int64_t batch = 0;  // of the epoch, those done
  std::int64_t step_count = 0;
  std::int64_t validated_step = -1;
  std::int64_t written_step = -1;
  LossLedger losses;
  Metrics last;  // the newest of each metric
  std::optional<Outcome> outcome;
  bool best_restored = false;

  std::int64_t total_steps = 0;
  std::int64_t items_since_log = 0, steps_since_start = 0;
  std::chrono::steady_clock::time_point started, last_log, last_tick;
  double items_per_second = 0;
};

}  // namespace athanor::train
