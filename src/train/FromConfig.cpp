#include "athanor/train/FromConfig.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace athanor::train {
namespace {

std::int64_t at_least(const core::Config& table, const std::string& key, std::int64_t least, std::int64_t fallback) {
  const auto value = table.integer(key, fallback);
  if (value < least) table.reject(key, fmt::format("must be >= {}, got {}", least, value));
  return value;
}

Mode mode_from(const core::Config& table) {
  static const std::array<std::string, 2> modes{"min", "max"};
  return table.choice("mode", "min", modes) == "max" ? Mode::max : Mode::min;
}

EarlyStoppingOptions stopping_from(const core::Config& table) {
  static const std::array<std::string, 2> deltas{"absolute", "relative"};
  EarlyStoppingOptions options{
      .monitor = table.text("monitor", "val_loss"),
      .patience =
          static_cast<int>(std::min<std::int64_t>(at_least(table, "patience", 0, 10), std::numeric_limits<int>::max())),
      .min_delta = table.number("min_delta", 0.0),
      .delta = table.choice("delta", "absolute", deltas) == "relative" ? Delta::relative : Delta::absolute,
      .mode = mode_from(table),
      .baseline = table.optional_number("baseline"),
      .start_from_epoch = at_least(table, "start_from_epoch", 0, 0),
      .restore_best_weights = table.boolean("restore_best_weights", true),
      .stopping_threshold = table.optional_number("stopping_threshold"),
      .divergence_threshold = table.optional_number("divergence_threshold"),
      .check_finite = table.boolean("check_finite", true)};
  if (!(options.min_delta >= 0)) table.reject("min_delta", fmt::format("must be >= 0, got {}", options.min_delta));
  return options;
}

// What one wants to see without asking: accuracy of classes, perplexity of sequences.
std::vector<Metric> metrics_from(const core::Config& train, const SampleForm& form) {
  std::vector<std::string> fallback;
  if (form.classes > 0) fallback = {form.target.shape.empty() ? "accuracy" : "perplexity"};
  std::vector<Metric> metrics;
  for (const auto& name : train.texts("metrics", fallback)) {
    try {
      metrics.push_back(metric_of_name(name));
    } catch (const std::invalid_argument& error) {
      train.reject("metrics", error.what());
    }
    if (form.classes == 0) train.reject("metrics", fmt::format("names {}, but the targets are real numbers", name));
  }
  return metrics;
}

// What there is to watch; a name that will never come is found before the first epoch.
void check_monitor(const core::Config& table, const std::string& name, const std::vector<Metric>& metrics) {
  std::vector<std::string> names{"val_loss"};
  for (const auto& metric : metrics) names.push_back("val_" + metric.name);
  if (std::find(names.begin(), names.end(), name) == names.end())
    table.reject("monitor",
                 fmt::format("= \"{}\": there is no such metric; there are: {}", name, fmt::join(names, ", ")));
}

struct Limits {
  std::int64_t epochs, steps;
};

Limits limits_from(const core::Config& train) {
  const auto steps = at_least(train, "max_steps", 0, 0);
  const auto epochs = at_least(train, "max_epochs", 0, steps > 0 ? 0 : 20);
  if (steps == 0 && epochs == 0) train.reject("max_epochs", "and train.max_steps are both 0: the run would not end");
  return {epochs, steps};
}

}  // namespace

std::optional<std::int64_t> run_length(const core::Config& config, std::int64_t batches_per_epoch) {
  const auto train = config.table("train");
  const auto limits = limits_from(train);
  const auto accumulate = std::max<std::int64_t>(1, train.integer("accumulate", 1));
  const auto per_epoch = (batches_per_epoch + accumulate - 1) / accumulate;
  if (per_epoch < 1) return std::nullopt;
  auto steps = limits.epochs * per_epoch;
  if (limits.steps > 0) steps = steps > 0 ? std::min(steps, limits.steps) : limits.steps;
  const auto schedule = config.table("schedule");
  const bool by_epoch = schedule.has("interval") && schedule.text("interval", "step") == "epoch";
  return by_epoch ? (steps + per_epoch - 1) / per_epoch : steps;
}

TrainerOptions trainer_options(const core::Config& config, const Session& session) {
  const auto train = config.table("train");
  const auto limits = limits_from(train);
  TrainerOptions options{.step = session.step_options,
                         .max_epochs = limits.epochs,
                         .max_steps = limits.steps,
                         .validate_every_steps = at_least(train, "validate_every_steps", 0, 0),
                         .metrics = metrics_from(train, session.form),
                         .ema_decay = train.number("ema_decay", 0.0)};
  if (!(options.ema_decay >= 0 && options.ema_decay < 1))
    train.reject("ema_decay", fmt::format("must be >= 0 (0: off) and < 1, got {}", options.ema_decay));
  const auto early = config.table("early_stopping");
  const bool stops = early.boolean("enabled", !early.empty());
  const auto stopping = stopping_from(early);  // asked for either way, so that its keys are known
  options.monitor = stopping.monitor;
  options.mode = stopping.mode;
  if (stops) {
    options.early_stopping = stopping;
    check_monitor(early, options.early_stopping->monitor, options.metrics);
  }
  options.scheduler = session.scheduler.get();
  options.interval = session.interval;
  options.plateau_monitor = session.plateau_monitor;
  if (session.scheduler->is_plateau() && !options.plateau_monitor.empty())
    check_monitor(config.table("schedule"), options.plateau_monitor, options.metrics);
  const auto checkpoint = config.table("checkpoint");
  options.checkpoint_every_steps = at_least(checkpoint, "every_steps", 0, 0);
  options.checkpoint_every_epochs = at_least(checkpoint, "every_epochs", 0, 1);
  options.checkpoint.keep_last = at_least(checkpoint, "keep_last", 1, 2);
  options.checkpoint.keep_best = at_least(checkpoint, "keep_best", 0, 1);
  options.log_every_steps = at_least(config.table("log"), "every_steps", 0, 20);
  return options;
}

}  // namespace athanor::train
