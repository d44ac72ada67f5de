#include "athanor/train/Trainer.h"

#include "train/Run.h"

namespace athanor::train {

Trainer::Trainer(models::Model model, Loss loss, torch::optim::Optimizer& optimizer, TrainerOptions options)
    : run_(std::make_unique<Run>(std::move(model), std::move(loss), optimizer, std::move(options))) {}
Trainer::~Trainer() = default;

// The whole of it: what happens in one epoch, and in which order.
Outcome Trainer::fit(data::Loader& train, data::Loader* validation) {
  Run& run = *run_;
  run.validation = validation;
  run.begin(train);
  while (!run.outcome) {
    train.start_epoch(run.epoch, run.batch);
    while (!run.outcome) {
      const auto batch = train.next();
      if (!batch) break;
      run.one_batch(*batch, train);
    }
    if (!run.outcome) run.end_of_epoch();
  }
  return run.end();
}

void Trainer::Run::one_batch(const data::Batch& micro_batch, const data::Loader& train) {
  if (folder && options.step.in_backward) folder->wait_until_read();
  losses.add(step.backward(micro_batch), micro_batch.items, step_count);
  ++batch;
  items_since_log += micro_batch.items;
  if (losses.bad() && diverged(&micro_batch)) return;
  if (!step.ready() && batch < train.batches()) return;  // more to accumulate

  if (folder) folder->wait_until_read();
  const auto stepped = step.update();
  if (options.scheduler && options.interval == schedule::Interval::step && !options.scheduler->is_plateau())
    options.scheduler->step_if(!options.step.scaler || static_cast<bool>(stepped));
  if (ema) ema->update();
  ++step_count;
  end_of_step();
}

void Trainer::Run::end_of_step() {
  if (options.log_every_steps > 0 && step_count % options.log_every_steps == 0)
    log_step();
  else
    tick();
  if (losses.bad() && diverged(nullptr)) return;
  const bool limit = options.max_steps > 0 && step_count >= options.max_steps;
  if (options.validate_every_steps > 0 && step_count % options.validate_every_steps == 0) validate();
  if (outcome) return;
  if (options.checkpoint_every_steps > 0 && step_count % options.checkpoint_every_steps == 0) write_checkpoint();
  if (interrupted())
    stop_interrupted();
  else if (limit)
    stop(Status::finished);
}

void Trainer::Run::end_of_epoch() {
  if (options.validate_every_steps == 0) validate();
  if (outcome) return;
  losses.settle();
  if (losses.epoch_items > 0) last["train_loss"] = losses.epoch_sum / static_cast<double>(losses.epoch_items);
  losses.epoch_sum = 0;
  losses.epoch_items = 0;
  ++epoch;
  batch = 0;
  const bool limit = options.max_epochs > 0 && epoch >= options.max_epochs;
  // The last epoch's rate has no successor.
  if (options.scheduler && options.interval == schedule::Interval::epoch && !options.scheduler->is_plateau() && !limit)
    options.scheduler->step();
  if (options.checkpoint_every_epochs > 0 && epoch % options.checkpoint_every_epochs == 0) write_checkpoint();
  if (limit) stop(Status::finished);
}

void Trainer::restore(const Checkpoint& checkpoint) {
  run_->restore(checkpoint);
}

bool Trainer::resume(const std::function<void(const std::string&)>& warn) {
  const auto found = newest_good(run_->options.folder / "checkpoints", warn);
  if (found) run_->restore(*found);
  return found.has_value();
}

Checkpoint Trainer::snapshot() {
  return run_->snapshot();
}

Metrics Trainer::evaluate(data::Loader& loader, const std::string& split) {
  return run_->evaluate(loader, split);
}

std::int64_t Trainer::step_count() const {
  return run_->step_count;
}

std::string to_string(Status status) {
  switch (status) {
    case Status::finished:
      return "finished";
    case Status::early_stopped:
      return "early_stopped";
    case Status::interrupted:
      return "interrupted";
    case Status::diverged:
      return "diverged";
    case Status::failed:
      return "failed";
  }
  return "failed";
}

}  // namespace athanor::train
