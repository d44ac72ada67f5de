#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <ostream>
#include <stdexcept>

#include "athanor/core/AtomicFile.h"
#include "athanor/plan/Text.h"
#include "cli/Context.h"
#include "cli/Planning.h"
#include "cli/commands.h"

namespace athanor::cli {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> overrides;
  std::string gpu;
  std::string budget;
  std::string sample;
  std::string out;
  std::string svg;
};

nlohmann::json to_json(const plan::Settings& s) {
  return {{"batch_size", s.micro_batch},
          {"accumulate", s.accumulate},
          {"precision", s.precision},
          {"checkpointing", s.checkpointing},
          {"chunked_loss", s.chunked_loss},
          {"optimizer_in_backward", s.optimizer_in_backward},
          {"optimizer_states", s.optimizer_states},
          {"offload", s.offload}};
}

nlohmann::json to_json(const plan::Candidate& candidate, const plan::Settings& written) {
  nlohmann::json json{{"settings", to_json(candidate.settings)},
                      {"changes", candidate.settings.changes(written)},
                      {"peak_reserved", candidate.cost.peak_reserved.count},
                      {"process", candidate.cost.process.count},
                      {"seconds_per_step", candidate.cost.seconds_per_step},
                      {"fits", candidate.fits}};
  for (const auto& [name, bytes] : candidate.cost.parts) json["parts"][name] = bytes.count;
  return json;
}

nlohmann::json to_json(const plan::Plan& plan, const PlanRequest& request, const Question& question) {
  const auto& written = question.written;
  const auto& samples = question.samples;
  nlohmann::json json{{"gpu", request.gpu},
                      {"budget", plan.budget.count},
                      {"samples", {{"shape", samples.form.input.shape}, {"source", name(samples.source)}}},
                      {"chosen", nullptr},
                      {"candidates", nlohmann::json::array()},
                      {"searched", plan.searched()},
                      {"combinations", plan.combinations}};
  if (plan.chosen) json["chosen"] = to_json(*plan.chosen, written);
  for (const auto& candidate : plan.candidates) json["candidates"].push_back(to_json(candidate, written));
  return json;
}

std::string configuration(const plan::Plan& plan, const PlanRequest& request, const plan::Settings& written) {
  const auto& chosen = *plan.chosen;
  std::string text = fmt::format("# Planned for {} within {}: {} expected, about {:.3g} s a step.\n", request.gpu,
                                 plan.budget.text(), chosen.cost.process.text(), chosen.cost.seconds_per_step);
  const auto changes = chosen.settings.changes(written);
  const auto costs = plan::prices(chosen.settings, written);
  for (std::size_t i = 0; i < changes.size(); ++i) text += fmt::format("# {}: {}\n", changes[i], costs[i]);
  return text + "\n" + request.config(changes).written();
}

PlanRequest request_of(const Options& options, const Context& context) {
  PlanRequest request;
  request.config = [&options](std::span<const std::string> more) {
    auto all = options.overrides;
    all.insert(all.end(), more.begin(), more.end());
    return core::Config::from_file(options.config, all);
  };
  request.models = &context.models;
  request.sample = options.sample;
  const auto config = request.config({});
  request.gpu = options.gpu.empty() ? config.table("memory").text("gpu", "") : options.gpu;
  request.budget = options.budget.empty() ? budget_of(config) : parse_budget("--budget", options.budget);
  if (request.gpu.empty() && !request.budget)
    throw std::invalid_argument("plan: say for which GPU or how much memory: --gpu \"RTX 4090\" or --budget 10GiB");
  if (request.gpu.empty()) {
    request.gpu = "A100 80GB";
    if (!context.quiet) *context.err << "plan: kernels and rates of an A100, since no --gpu was given\n";
  }
  return request;
}

void run(const Options& options, Context& context) {
  const auto start = std::chrono::steady_clock::now();
  auto request = request_of(options, context);
  const auto question = ask(request);
  if (!context.quiet) *context.err << "plan: " << question.samples.text() << '\n';
  const auto plan = make_plan(request, question);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto words = words_for(request, question);
  if (context.json) {
    auto json = to_json(plan, request, question);
    json["seconds"] = seconds;
    *context.out << json.dump(2) << '\n';
  } else {
    *context.out << plan::text(plan, words, core::Terminal::of(*context.out));
  }
  if (!options.svg.empty()) core::write_atomically(options.svg, plan::frontier(plan, request.gpu).svg());
  if (!plan.chosen) {
    if (context.json) *context.err << context.name << ": " << plan::explain_miss(plan, words) << '\n';
    context.exit_code = 3;
    return;
  }
  if (options.out.empty()) return;
  core::write_atomically(options.out, configuration(plan, request, question.written));
  if (!context.json && !context.quiet) *context.err << "wrote " << options.out << '\n';
}

}  // namespace

void add_plan(CLI::App& root, Context& context) {
  auto* command =
      root.add_subcommand("plan", "Find settings that fit a GPU or a budget, fastest first, by rehearsing them");
  auto options = std::make_shared<Options>();
  command->add_option("config", options->config, "Configuration (TOML)")->required();
  command->add_option("--set", options->overrides, "key=value, overrides the configuration; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--gpu", options->gpu, "GPU to plan for: \"RTX 4090\"; its memory is the budget");
  command->add_option("--budget", options->budget, "Most the process may take: 10GiB");
  command->add_option("--sample", options->sample, "One sample's sizes (3x224x224), for a model that takes any");
  command->add_option("--out", options->out, "Write the configuration to train with");
  command->add_option("--svg", options->svg, "Draw memory against time for all candidates");
  command->callback([options, &context] { run(*options, context); });
}

}  // namespace athanor::cli
