#include "train/Run.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "athanor/core/Format.h"
#include "athanor/optim/AveragedWeights.h"
#include "athanor/train/Weights.h"
#include "train/Diagnose.h"

namespace athanor::train {
namespace {

void require(bool right, const std::string& message) {
  if (!right) throw std::invalid_argument("train::Trainer: " + message);
}

// Without early stopping the best is remembered all the same, for best.safetensors and the outcome.
EarlyStoppingOptions stopping_of(const TrainerOptions& options) {
  if (options.early_stopping) return *options.early_stopping;
  return {.monitor = options.monitor,
          .patience = std::numeric_limits<int>::max(),
          .mode = options.mode,
          .restore_best_weights = false};
}

}  // namespace

Trainer::Run::Run(models::Model model_in, Loss loss, torch::optim::Optimizer& optimizer_in, TrainerOptions options_in)
    : model(std::move(model_in)),
      optimizer(&optimizer_in),
      options(std::move(options_in)),
      step(model, std::move(loss), optimizer_in, options.step),
      stopping(stopping_of(options)) {
  require(options.max_epochs >= 0 && options.max_steps >= 0, "max_epochs and max_steps must be >= 0");
  require(options.max_epochs > 0 || options.max_steps > 0, "one of max_epochs and max_steps must be > 0");
  require(options.validate_every_steps >= 0 && options.log_every_steps >= 0 && options.checkpoint_every_steps >= 0 &&
              options.checkpoint_every_epochs >= 0,
          "intervals must be >= 0");
  if (options.ema_decay != 0) ema.emplace(*model.module, options.ema_decay);
  if (!options.folder.empty()) {
    options.checkpoint.larger_is_better = stopping.options().mode == Mode::max;
    folder.emplace(options.folder / "checkpoints", options.checkpoint);
  }
}

Metrics Trainer::Run::evaluate(data::Loader& loader, const std::string& split) {
  std::optional<Ema::Applied> averaged;
  if (ema && !best_restored) averaged.emplace(*ema);
  std::optional<optim::AveragedWeights> schedule_free;
  if (!best_restored) schedule_free.emplace(*optimizer);
  model.module->eval();
  Tally tally(options.metrics);
  const bool want_output = need_outputs(options.metrics);
  loader.start_epoch(0);
  while (auto held = loader.next()) {
    const auto here = step.to_device(*held);
    const auto result = step.evaluate(here, want_output);
    tally.add(result.output, here.targets, result.loss, here.items);
    if (interrupted()) break;
  }
  model.module->train();
  return tally.values(split);
}

// Validate, early stopping, then (by the caller) the checkpoint: so the best checkpoint is the best.
void Trainer::Run::validate() {
  if (!validation || validated_step == step_count) return;
  const auto metrics = evaluate(*validation, "val");
  // An interrupted validation leaves no trace: it is done again after the resume.
  if (interrupted()) {
    if (!outcome) stop_interrupted();
    return;
  }
  validated_step = step_count;
  for (const auto& [name, value] : metrics) last[name] = value;
  auto told = event(Event::Kind::validated);
  told.metrics = metrics;
  tell(told);
  observe(metrics);
}

void Trainer::Run::observe(const Metrics& metrics) {
  if (folder) folder->wait_until_read();  // the best weights are about to be kept in the memory they are written from
  Verdict verdict;
  {
    std::optional<Ema::Applied> averaged;
    if (ema) averaged.emplace(*ema);
    const optim::AveragedWeights schedule_free(*optimizer);
    verdict = stopping.observe(metrics, *model.module, epoch);
    if (verdict.improved) write_best();
    // A schedule-free optimizer's average leaves the parameters with this scope.
    const auto* ours = dynamic_cast<optim::Optimizer*>(optimizer);
    if (folder && ours && ours->kind().starts_with("schedule_free")) folder->wait_until_read();
  }
  if (options.scheduler && options.scheduler->is_plateau()) {
    const auto& name = options.plateau_monitor.empty() ? stopping.options().monitor : options.plateau_monitor;
    const auto found = metrics.find(name);
    require(found != metrics.end(), fmt::format("schedule.monitor: there is no metric '{}'", name));
    if (std::isfinite(found->second)) options.scheduler->step(found->second);
  }
  if (!verdict.stop) return;
  if (options.early_stopping && verdict.reason != StopReason::non_finite && verdict.reason != StopReason::diverged)
    return stop(Status::early_stopped, verdict.message);
  stop(Status::diverged, verdict.message);
}

void Trainer::Run::write_best() {
  if (!folder) return;
  auto weights = weights_of(*model.module);
  for (auto& [name, tensor] : weights)
    if (!tensor.requires_grad()) tensor = tensor.clone();  // buffers move in the next forward pass
  folder->write_weights(options.folder / "best.safetensors", std::move(weights),
                        {{"metric", stopping.options().monitor},
                         {"value", fmt::format("{}", *stopping.best())},
                         {"epoch", std::to_string(epoch)},
                         {"step", std::to_string(step_count)}});
}

void Trainer::Run::write_checkpoint() {
  if (!folder || written_step == step_count) return;
  if (const auto name = non_finite_weight(*model.module); !name.empty())
    return stop(Status::diverged, fmt::format("the weight '{}' is not finite after step {}", name, step_count));
  folder->write(snapshot());
  written_step = step_count;
}

// True if a loss was bad: then the run is over.
bool Trainer::Run::diverged(const data::Batch* micro_batch) {
  const auto& bad = losses.bad();
  std::string where = "unknown: the batch is gone";
  if (micro_batch) {
    where = first_non_finite(step, step.to_device(*micro_batch));
  } else if (const auto name = non_finite_weight(*model.module); !name.empty()) {
    where = fmt::format("the weight '{}'", name);
  }
  stop(Status::diverged,
       fmt::format("the loss is {} at step {} (epoch {}); the first tensor that is not finite: {}",
                   std::isnan(bad->loss) ? "nan" : core::significant(bad->loss), bad->step + 1, epoch + 1, where));
  return true;
}

void Trainer::Run::stop_interrupted() {
  stop(Status::interrupted, fmt::format("signal {} after step {}", options.interrupt->signal(), step_count));
}

void Trainer::Run::stop(Status status, std::string reason) {
  if (status != Status::diverged) write_checkpoint();
  if (outcome) return;  // the checkpoint found the weights not finite
  outcome = Outcome{.status = status, .reason = std::move(reason)};
}

Outcome Trainer::Run::end() {
  losses.settle();
  if (losses.epoch_items > 0) last["train_loss"] = losses.epoch_sum / static_cast<double>(losses.epoch_items);
  // A run that ends between two validations is still judged, after its checkpoint: a resume does not see it.
  if (outcome->status == Status::finished) validate();
  auto result = *outcome;
  if (folder) folder->wait();
  if (options.early_stopping && result.status != Status::interrupted)
    best_restored = stopping.restore_best(*model.module);
  result.steps = step_count;
  result.epochs = epoch;
  if (stopping.best()) result.best = Outcome::Best{stopping.options().monitor, *stopping.best(), stopping.best_epoch()};
  result.final = last;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  outcome.reset();
  return result;
}

}  // namespace athanor::train
