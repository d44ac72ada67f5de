#include <algorithm>

#include "train/Run.h"

namespace athanor::train {

using Clock = std::chrono::steady_clock;

void Trainer::Run::begin(const data::Loader& train) {
  started = last_log = last_tick = Clock::now();
  steps_since_start = step_count;
  model.module->train();
  const auto per_epoch = (train.batches() + options.step.accumulate - 1) / options.step.accumulate;
  total_steps = options.max_epochs * per_epoch;
  if (options.max_steps > 0)
    total_steps = total_steps > 0 ? std::min(total_steps, options.max_steps) : options.max_steps;
  tell(event(Event::Kind::started));
  if ((options.max_epochs > 0 && epoch >= options.max_epochs) ||
      (options.max_steps > 0 && step_count >= options.max_steps))
    return stop(Status::finished);
  if (options.early_stopping && validated_step == step_count && stopping.exhausted())
    return stop(Status::early_stopped, "it had stopped early already; a larger early_stopping.patience goes on");
  // Interrupted in the validation after a step: that comes first.
  if (options.validate_every_steps > 0 && step_count > 0 && step_count % options.validate_every_steps == 0) validate();
}

Event Trainer::Run::event(Event::Kind kind) const {
  Event event{.kind = kind, .step = step_count, .epoch = epoch, .total_steps = total_steps};
  event.lr = optimizer->param_groups().empty() ? 0.0 : optimizer->param_groups().front().options().get_lr();
  event.items_per_second = items_per_second;
  const std::chrono::duration<double> since = Clock::now() - started;
  event.seconds = since.count();
  if (const auto done = step_count - steps_since_start; done > 0 && total_steps > step_count)
    event.seconds_left = since.count() / static_cast<double>(done) * static_cast<double>(total_steps - step_count);
  return event;
}

void Trainer::Run::tell(const Event& event) const {
  for (const auto& observer : options.observers) observer(event);
}

void Trainer::Run::note(std::string message) const {
  auto told = event(Event::Kind::note);
  told.message = std::move(message);
  tell(told);
}

void Trainer::Run::log_step() {
  const double loss = losses.take_mean();
  const auto now = Clock::now();
  const std::chrono::duration<double> since = now - last_log;
  if (since.count() > 0) items_per_second = static_cast<double>(items_since_log) / since.count();
  items_since_log = 0;
  last_log = last_tick = now;
  auto told = event(Event::Kind::step);
  told.metrics["train_loss"] = loss;
  if (step.gradient_norm().defined()) told.metrics["train_grad_norm"] = step.gradient_norm().item<double>();
  if (options.step.scaler) told.metrics["train_loss_scale"] = options.step.scaler->scale();
  tell(told);
}

// For a line on a terminal between two logged steps.
void Trainer::Run::tick() {
  if (options.observers.empty()) return;
  const auto now = Clock::now();
  if (now - last_tick < std::chrono::milliseconds(100)) return;
  last_tick = now;
  tell(event(Event::Kind::tick));
}

}  // namespace athanor::train
