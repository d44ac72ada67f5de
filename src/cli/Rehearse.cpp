#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Bytes.h"
#include "athanor/core/Config.h"
#include "athanor/core/Terminal.h"
#include "athanor/gpu/Table.h"
#include "athanor/rehearse/Coverage.h"
#include "athanor/rehearse/Picture.h"
#include "athanor/rehearse/Rehearse.h"
#include "cli/Context.h"
#include "cli/TrainingRehearsal.h"
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
  std::optional<std::int64_t> samples;
  std::vector<std::int64_t> lengths;
  std::string cudnn;
  std::string html, snapshot, svg;
  bool coverage = false;
  bool wsl = false;

  [[nodiscard]] allocator::AddressOrder addresses() const {
    return wsl ? allocator::AddressOrder::rising : allocator::AddressOrder::driver;
  }
};

// What would hold it: the smallest card that does, and what no smaller batch takes away.
std::string mend(const rehearse::Forecast& forecast) {
  const auto need = forecast.peak.reserved.value;
  const gpu::Gpu* least = nullptr;
  const auto table = gpu::Table::standard();
  for (const auto& card : table.gpus())
    if (need + card.context_bytes.count <= card.usable.count && (least == nullptr || card.usable < least->usable))
      least = &card;
  const auto of = [&](rehearse::Category category) { return forecast.by_category[static_cast<std::size_t>(category)]; };
  return fmt::format(
      "{} Parameters and optimizer state are {} of it, whatever the batch. athanor plan --gpu \"{}\" looks for "
      "settings that fit.",
      least != nullptr ? fmt::format("The smallest card known here that holds it: {}.", least->name)
                       : "No card known here holds it.",
      Bytes{of(rehearse::Category::parameters) + of(rehearse::Category::optimizer)}.text(), forecast.gpu.name);
}

rehearse::Forecast forecast(const Options& options, const Context& context) {
  const auto config = core::Config::from_file(options.config, options.overrides);
  const auto memory = config.table("memory");
  if (memory.text("checkpointing", "off") == "budget")
    memory.reject(
        "checkpointing",
        fmt::format("\"budget\" is chosen by athanor plan and athanor train; a rehearsal takes one choice "
                    "(\"off\", \"all\", \"every:K\" or \"first:N\"): athanor plan {} --gpu \"{}\" says which fits",
                    options.config, options.gpu));
  const auto known = form_of_training(config, context.models, options.sample);
  if (!context.quiet) *context.err << "rehearse: " << known.text() << '\n';
  if (options.samples && *options.samples < 1)
    throw std::invalid_argument(fmt::format("--samples: must be > 0, got {}", *options.samples));
  const auto samples = options.samples ? *options.samples : samples_of_training(config);
  auto result = rehearse_training(config, context.models,
                                  {.rehearsal = {.gpu = options.gpu,
                                                 .steps = options.steps,
                                                 .allocator = allocator::Settings::parse(options.allocator),
                                                 .addresses = options.addresses(),
                                                 .selected = options.selected,
                                                 .cudnn = options.cudnn},
                                   .form = known.form,
                                   .samples = samples,
                                   .lengths = options.lengths})
                    .forecast;
  if (samples == 0)
    result.notes.emplace_back(
        "The data are not here to be counted, so no last short batch was rehearsed: --samples N says how many there "
        "are.");
  if (!result.fits) result.notes.push_back(mend(result));
  return result;
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
          {"surely_fits", forecast.surely_fits},
          {"uncertain", forecast.uncertain()},
          {"pinned", forecast.ledger.pinned_peak},
          {"notes", forecast.notes},
          {"seconds", forecast.seconds}};
}

void show_coverage(const Context& context) {
  const auto rows = rehearse::coverage();
  const auto sparse = rehearse::sparse_coverage();
  if (!context.json) {
    *context.out << rehearse::coverage_page(rows, sparse);
    return;
  }
  const auto as_json = [](const std::vector<rehearse::Covered>& from) {
    auto list = nlohmann::json::array();
    for (const auto& row : from)
      list.push_back({{"op", row.op}, {"service", name(row.service)}, {"source", row.source}});
    return list;
  };
  *context.out << nlohmann::json{{"operators", as_json(rows)}, {"sparse", as_json(sparse)}}.dump(2) << '\n';
}

void write_files(const Options& options, const rehearse::Forecast& forecast) {
  const auto title = std::filesystem::path(options.config).filename().string() + " rehearsed";
  if (!options.svg.empty()) core::write_atomically(options.svg, rehearse::timeline(forecast).svg({960, 380}));
  if (!options.html.empty()) core::write_atomically(options.html, rehearse::page(forecast, title));
  if (!options.snapshot.empty())
    allocator::write_snapshot(rehearse::snapshot(forecast, {.settings = allocator::Settings::parse(options.allocator),
                                                            .order = options.addresses()}),
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
  command->add_option("--samples", options->samples, "How many samples the training set has, if the data are not here");
  command->add_option("--lengths", options->lengths, "Sequence lengths that the data also has: 128,512")
      ->delimiter(',');
  command->add_flag("--wsl", options->wsl, "Lay segments out at rising addresses, as the driver does in WSL");
  command->add_option("--cudnn", options->cudnn,
                      "Ask this libcudnn which workspaces convolutions take: its path, its folder, or auto, beside "
                      "LibTorch; else ATHANOR_CUDNN; else they are bounded");
  command->add_option("--html", options->html, "Write one HTML page to explore the timeline in");
  command->add_option("--svg", options->svg, "Write the timeline as a picture");
  command->add_option("--snapshot", options->snapshot, "Write a snapshot that PyTorch's memory_viz opens");
  command->add_flag("--coverage", options->coverage, "List every CUDA operator and how it is known");
  command->callback([options, &context] { run(*options, context); });
}

}  // namespace athanor::cli
