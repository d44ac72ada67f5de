#include "cli/TrainingRehearsal.h"

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "athanor/core/Error.h"
#include "athanor/core/Nearest.h"
#include "athanor/data/Open.h"
#include "athanor/train/FromConfig.h"

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

// "3x224x224": what one sample looks like, for a model that takes any.
train::SampleForm form_from(const std::string& text, std::int64_t classes) {
  train::SampleForm form{.input = {{}, at::kFloat}, .target = {{}, at::kLong}, .classes = classes};
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, 'x');) {
    std::int64_t size = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), size);
    if (error != std::errc() || end != part.data() + part.size() || size < 1)
      throw std::invalid_argument(fmt::format("--sample: expected sizes like 3x224x224, got '{}'", text));
    form.input.shape.push_back(size);
  }
  return form;
}

// Keys of the tables that a rehearsal reads whole; the data's are read only where it is opened, the budget and its GPU
// by whoever rehearses for one.
void reject_unknown(const core::Config& config) {
  static const std::vector<std::string> tables{"run",        "data",      "model", "optimizer",
                                               "schedule",   "precision", "train", "early_stopping",
                                               "checkpoint", "memory",    "log"};
  for (const auto& key : config.keys())
    if (std::find(tables.begin(), tables.end(), key) == tables.end())
      config.reject(key, "is not a table of a configuration" + core::suggestion(key, tables));
  for (const char* key : {"budget", "gpu"}) static_cast<void>(config.table("memory").text(key, ""));
  for (const char* table :
       {"model", "optimizer", "schedule", "precision", "train", "early_stopping", "checkpoint", "memory"})
    config.table(table).reject_unknown();
}

// A step whose batch is not like the others.
struct OddStep {
  std::int64_t items = 0;
  std::optional<std::int64_t> length = {};  // of each sample; else as the form says
};

train::SampleForm with_length(train::SampleForm form, std::int64_t length) {
  if (form.input.dtype != at::kLong || form.input.shape.size() != 1)
    throw std::invalid_argument("--lengths: the samples of this configuration are not rows of tokens");
  if (length < 1 || length > form.input.shape[0])
    throw std::invalid_argument(
        fmt::format("--lengths: must be 1 to {}, the longest the model takes, got {}", form.input.shape[0], length));
  if (!form.target.shape.empty()) form.target.shape[0] = length;
  form.input.shape[0] = length;
  return form;
}

// Steps after the regular ones: sequences of other lengths, the last short batch, and then a regular one again, which
// finds the cache as the odd ones left it.
std::vector<OddStep> odd_steps(const core::Config& config, const TrainingRehearsalOptions& options) {
  const auto batch_size = batch_size_of(config);
  std::vector<OddStep> steps;
  for (const auto length : options.lengths) steps.push_back({batch_size, length});
  const auto left = options.samples % batch_size;
  if (options.samples > batch_size && left > 0 && !config.table("data").boolean("drop_last", false))
    steps.push_back({.items = left});
  if (!steps.empty()) steps.push_back({.items = batch_size});
  return steps;
}

data::Batch blank_batch(train::Session& session, const OddStep& odd) {
  const auto regular = session.form;
  if (odd.length) session.form = with_length(regular, *odd.length);
  auto batch = session.blank_batch(odd.items);
  session.form = regular;
  return batch;
}

}  // namespace

TrainingRehearsal rehearse_training(const core::Config& config, const models::Registry& registry,
                                    const TrainingRehearsalOptions& options) {
  const auto batch_size = batch_size_of(config);
  std::int64_t accumulate = options.accumulate;
  std::vector<std::vector<plan::Work>> micro_batches;
  TrainingRehearsal result;
  if (options.rehearsal.steps < 1)
    throw std::invalid_argument(fmt::format("rehearse: steps must be > 0, got {}", options.rehearsal.steps));
  const auto odd = odd_steps(config, options);
  auto rehearsal = options.rehearsal;
  rehearsal.steps += static_cast<int>(odd.size());
  result.forecast = rehearse::rehearse(rehearsal, [&](torch::Device device, rehearse::Stage& stage) {
    const auto without_weights = weightless(registry, stage);
    constexpr std::int64_t some_length = 1000;  // of a schedule that does not say: no matter to memory
    train::Session session(config, without_weights, {.device = device, .form = options.form, .run_steps = some_length});
    const bool want_output = train::need_outputs(train::trainer_options(config, session).metrics);
    reject_unknown(config);
    if (options.inspect) options.inspect(session);
    stage.watch(*session.model.module);
    if (accumulate == 0) accumulate = session.step_options.accumulate;
    const auto batch = session.blank_batch(batch_size);
    while (stage.next_step()) {
      const bool count = options.estimate_time && stage.step() == options.rehearsal.steps;
      std::optional<plan::WorkCounter> counter;
      if (count) counter.emplace();
      const auto past = stage.step() - options.rehearsal.steps;
      const auto last = past > 0 ? blank_batch(session, odd[static_cast<std::size_t>(past) - 1]) : batch;
      for (std::int64_t micro = 1; micro <= session.step_options.accumulate; ++micro) {
        session.step(micro == session.step_options.accumulate ? last : batch);
        if (counter) micro_batches.push_back(counter->take());
      }
      counter.reset();
      if (options.validate && stage.step() == 1) {
        const auto phase = stage.phase(rehearse::Phase::validation);
        static_cast<void>(session.evaluate(batch, want_output));
      }
    }
  });
  if (options.estimate_time) result.step = estimate_step(micro_batches, accumulate, result.forecast.gpu);
  return result;
}

std::string_view name(FormSource source) {
  static constexpr std::array<std::string_view, 3> names{"--sample", "the model", "the data"};
  return names[static_cast<std::size_t>(source)];
}

std::string KnownForm::text() const {
  auto text =
      fmt::format("samples {}", form.input.shape.empty() ? "1" : fmt::format("{}", fmt::join(form.input.shape, "×")));
  static constexpr std::array<std::string_view, 3> by{" as --sample says", " as the model takes them",
                                                      " as in the data"};
  text += by[static_cast<std::size_t>(source)];
  if (form.classes > 0) text += fmt::format(", {} classes", form.classes);
  return source == FormSource::data ? text : text + "; the data were not read";
}

KnownForm form_of_training(const core::Config& config, const models::Registry& models, const std::string& sample) {
  models::Model model;
  {
    const c10::impl::IncludeDispatchKeyGuard without_memory(c10::DispatchKey::Meta);
    model = models.make(config.table("model"));
  }
  if (!sample.empty()) return {form_from(sample, model.classes), FormSource::option};
  if (const auto form = train::form_of(model)) return {*form, FormSource::model};
  const auto seed = static_cast<std::uint64_t>(config.table("run").integer("seed", 17));
  try {
    return {train::form_of(data::open(config.table("data"), seed)), FormSource::data};
  } catch (const Error& error) {
    throw Error(
        fmt::format("{}; the model takes samples of any shape, so the data must be here, or --sample 3x224x224 "
                    "must say what one is",
                    error.what()));
  }
}

std::int64_t samples_of_training(const core::Config& config) {
  const auto seed = static_cast<std::uint64_t>(config.table("run").integer("seed", 17));
  try {
    return data::count(config.table("data"), seed);
  } catch (const std::exception&) {
    return 0;  // a rehearsal needs no data: what is wrong with them, training will say
  }
}

std::int64_t batch_size_of(const core::Config& config) {
  const auto data = config.table("data");
  const auto size = data.integer("batch_size", 128);
  if (size < 1) data.reject("batch_size", fmt::format("must be >= 1, got {}", size));
  return size;
}

}  // namespace athanor::cli
