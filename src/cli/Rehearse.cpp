#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Config.h"
#include "athanor/core/Nearest.h"
#include "athanor/core/Terminal.h"
#include "athanor/data/Open.h"
#include "athanor/models/Registry.h"
#include "athanor/rehearse/Coverage.h"
#include "athanor/rehearse/Picture.h"
#include "athanor/rehearse/Rehearse.h"
#include "athanor/train/FromConfig.h"
#include "athanor/train/Session.h"
#include "cli/Context.h"
#include "cli/commands.h"

namespace athanor::cli {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> overrides;
  std::string gpu = "RTX 4090";
  int steps = 3;
  std::string allocator;
  std::int64_t selected = -1;
  std::string sample;
  std::string html, snapshot, svg;
  bool coverage = false;
};

// Makes every model without host memory, so that one larger than the host can be rehearsed.
models::Registry weightless(const models::Registry& models, rehearse::Stage& stage) {
  models::Registry registry;
  for (const auto& name : models.names())
    registry.add(name, [&models, &stage](const core::Config& table) {
      const auto guard = stage.without_host_memory();
      return models.make(table);
    });
  return registry;
}

void validate(train::Session& session, const data::Batch& batch, rehearse::Stage& stage) {
  const auto phase = stage.phase(rehearse::Phase::validation);
  const train::Step step(session.model, session.loss, *session.optimizer, session.step_options);
  session.model.module->eval();
  static_cast<void>(step.evaluate(batch));
  session.model.module->train();
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

// What the model says of its samples, or --sample, or the data; in this order, so that the data need not be here.
train::SampleForm form_of(const core::Config& config, const Options& options, const models::Registry& models) {
  models::Model model;
  {
    const c10::impl::IncludeDispatchKeyGuard without_memory(c10::DispatchKey::Meta);
    model = models.make(config.table("model"));
  }
  if (!options.sample.empty()) return form_from(options.sample, model.classes);
  if (const auto form = train::form_of(model)) return *form;
  const auto seed = static_cast<std::uint64_t>(config.table("run").integer("seed", 17));
  return train::form_of(data::open(config.table("data"), seed));
}

// Keys of the tables that a rehearsal reads whole; the data's are read only where it is opened.
void reject_unknown(const core::Config& config) {
  static const std::vector<std::string> tables{"run",        "data",      "model", "optimizer",
                                               "schedule",   "precision", "train", "early_stopping",
                                               "checkpoint", "memory",    "log"};
  for (const auto& key : config.keys())
    if (std::find(tables.begin(), tables.end(), key) == tables.end())
      config.reject(key, "is not a table of a configuration" + core::suggestion(key, tables));
  for (const char* table : {"model", "optimizer", "schedule", "precision", "train", "early_stopping", "checkpoint"})
    config.table(table).reject_unknown();
}

rehearse::Forecast forecast(const Options& options, const Context& context) {
  const auto config = core::Config::from_file(options.config, options.overrides);
  const auto batch_size = config.table("data").integer("batch_size", 128);
  const auto accumulate = config.table("train").integer("accumulate", 1);
  if (batch_size < 1) config.table("data").reject("batch_size", fmt::format("must be >= 1, got {}", batch_size));
  const auto form = form_of(config, options, context.models);
  const rehearse::Options settings{.gpu = options.gpu,
                                   .steps = options.steps,
                                   .allocator = allocator::Settings::parse(options.allocator),
                                   .selected = options.selected};
  return rehearse::rehearse(settings, [&](torch::Device device, rehearse::Stage& stage) {
    const auto registry = weightless(context.models, stage);
    constexpr std::int64_t some_length = 1000;  // of a schedule that does not say: no matter to memory
    train::Session session(config, registry, {.device = device, .form = form, .run_steps = some_length});
    static_cast<void>(train::trainer_options(config, session));
    reject_unknown(config);
    stage.watch(*session.model.module);
    const auto batch = session.blank_batch(batch_size);
    while (stage.next_step()) {
      for (std::int64_t i = 0; i < accumulate; ++i) session.step(batch);
      if (stage.step() == 1) validate(session, batch, stage);
    }
  });
}

nlohmann::json json_of(const rehearse::Range& range) {
  return {{"low", range.low}, {"high", range.high}};
}

nlohmann::json json_of(const rehearse::Forecast& forecast) {
  const auto& peak = forecast.peak;
  nlohmann::json by_category;
  for (std::size_t i = 0; i < rehearse::category_count; ++i)
    by_category[std::string(name(static_cast<rehearse::Category>(i)))] = forecast.by_category[i];
  return {{"gpu", forecast.gpu.name},
          {"usable", forecast.gpu.usable.count},
          {"peak",
           {{"requested", peak.requested.value},
            {"allocated", peak.allocated.value},
            {"reserved", peak.reserved.value},
            {"process", peak.process.value}}},
          {"range",
           {{"requested", json_of(peak.requested)},
            {"allocated", json_of(peak.allocated)},
            {"reserved", json_of(peak.reserved)},
            {"process", json_of(peak.process)}}},
          {"by_category", by_category},
          {"peak_op", forecast.peak_operator},
          {"peak_module", forecast.peak_module},
          {"peak_phase", name(forecast.peak_phase)},
          {"peak_step", forecast.peak_step},
          {"steps", forecast.steps},
          {"events", forecast.ledger.events.size()},
          {"fits", forecast.fits},
          {"seconds", forecast.seconds}};
}

void show_coverage(const Context& context) {
  const auto rows = rehearse::coverage();
  if (!context.json) {
    *context.out << rehearse::coverage_page(rows);
    return;
  }
  nlohmann::json list = nlohmann::json::array();
  for (const auto& row : rows) list.push_back({{"op", row.op}, {"service", name(row.service)}, {"source", row.source}});
  *context.out << nlohmann::json{{"operators", list}}.dump(2) << '\n';
}

void write_files(const Options& options, const rehearse::Forecast& forecast) {
  const auto title = std::filesystem::path(options.config).filename().string() + " rehearsed";
  if (!options.svg.empty()) core::write_atomically(options.svg, rehearse::timeline(forecast).svg({960, 380}));
  if (!options.html.empty()) core::write_atomically(options.html, rehearse::page(forecast, title));
  if (!options.snapshot.empty())
    allocator::write_snapshot(rehearse::snapshot(forecast, {.settings = allocator::Settings::parse(options.allocator)}),
                              options.snapshot);
}

void run(const Options& options, Context& context) {
  if (options.coverage) return show_coverage(context);
  if (options.config.empty()) throw std::invalid_argument("rehearse: give it a configuration, or --coverage");
  const auto result = forecast(options, context);
  write_files(options, result);
  if (context.json) {
    *context.out << json_of(result).dump(2) << '\n';
  } else {
    const auto terminal = core::Terminal::of(*context.out);
    *context.out << rehearse::describe(result, terminal);
    if (!context.quiet)
      *context.out << '\n'
                   << rehearse::timeline(result).terminal({.columns = std::min(terminal.columns, 100),
                                                           .unicode = terminal.unicode,
                                                           .colour = terminal.colour});
  }
  context.exit_code = result.fits ? 0 : 3;
}

}  // namespace

void add_rehearse(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("rehearse", "Forecast a training step's GPU memory, to the byte, without a GPU");
  command->add_option("config", options->config, "A training configuration (TOML)");
  command->add_option("--set", options->overrides, "Override a key: --set data.batch_size=64");
  command->add_option("--gpu", options->gpu, "Which GPU to be: a name of `athanor gpus --table`")
      ->capture_default_str();
  command->add_option("--steps", options->steps, "Training steps to rehearse")->capture_default_str();
  command->add_option("--conf", options->allocator, "PYTORCH_CUDA_ALLOC_CONF, e.g. expandable_segments:True");
  command->add_option("--selected", options->selected, "Upper bound of what nonzero and masks select");
  command->add_option("--sample", options->sample, "One sample's sizes (3x224x224), for a model that takes any");
  command->add_option("--html", options->html, "Write one HTML page to explore the timeline in");
  command->add_option("--svg", options->svg, "Write the timeline as a picture");
  command->add_option("--snapshot", options->snapshot, "Write a snapshot that PyTorch's memory_viz opens");
  command->add_flag("--coverage", options->coverage, "List every CUDA operator and how it is known");
  command->callback([options, &context] { run(*options, context); });
}

}  // namespace athanor::cli
