#include "cli/TrainingRehearsal.h"

#include <algorithm>

#include "athanor/core/Error.h"
#include "athanor/data/Open.h"

namespace athanor::cli {
namespace {

/// The work of the micro-batches of one step: all are like the first, and the last one also updates.
plan::Estimate estimate_step(const std::vector<std::vector<plan::Work>>& micro_batches, std::int64_t accumulate,
                             const gpu::Gpu& gpu) {
  if (micro_batches.empty()) return {};
  const auto first = plan::roofline(micro_batches.front(), gpu);
  const auto last = plan::roofline(micro_batches.back(), gpu);
  if (micro_batches.size() == 1) return last;
  auto step = first.times(static_cast<double>(accumulate - 1));
  step += last;
  return step;
}

// Makes every model without host memory, so that one larger than the host can be rehearsed.
models::Registry weightless(const models::Registry& models, rehearse::Stage& stage) {
  models::Registry registry;
  for (const auto& name : models.names())
    registry.add(name, [&models, &stage](const core::Config& table) {
      const auto shapes_only = stage.without_host_memory();
      return models.make(table);
    });
  return registry;
}

}  // namespace

TrainingRehearsal rehearse_training(const core::Config& config, const models::Registry& registry,
                                    const TrainingRehearsalOptions& options) {
  const auto batch_size = batch_size_of(config);
  std::int64_t accumulate = options.accumulate;
  std::vector<std::vector<plan::Work>> micro_batches;
  TrainingRehearsal result;
  result.forecast = rehearse::rehearse(options.rehearsal, [&](torch::Device device, rehearse::Stage& stage) {
    const auto without_weights = weightless(registry, stage);
    train::Session session(config, without_weights, {.device = device, .form = options.form, .run_steps = 1000});
    if (options.inspect) options.inspect(session);
    stage.watch(*session.model.module);
    if (accumulate == 0) accumulate = session.step_options.accumulate;
    const auto batch = session.blank_batch(batch_size);
    while (stage.next_step()) {
      const bool count = options.estimate_time && stage.step() == options.rehearsal.steps;
      std::optional<plan::WorkCounter> counter;
      if (count) counter.emplace();
      for (std::int64_t micro = 0; micro < session.step_options.accumulate; ++micro) {
        session.step(batch);
        if (counter) micro_batches.push_back(counter->take());
      }
    }
  });
  if (options.estimate_time) result.step = estimate_step(micro_batches, accumulate, result.forecast.gpu);
  return result;
}

std::optional<train::SampleForm> form_of_data(const core::Config& config) {
  if (!config.table("data").has("kind")) return std::nullopt;
  try {
    const auto seed = static_cast<std::uint64_t>(config.table("run").integer("seed", 17));
    return train::form_of(data::open(config.table("data"), seed));
  } catch (const Error&) {
    return std::nullopt;  // not on this machine: the model's own form then
  }
}

std::int64_t batch_size_of(const core::Config& config) {
  const auto data = config.table("data");
  const auto size = data.integer("batch_size", 128);
  if (size < 1) data.reject("batch_size", "must be >= 1");
  return size;
}

}  // namespace athanor::cli
