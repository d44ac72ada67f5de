#include "athanor/plan/Text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "athanor/core/Format.h"
#include "athanor/core/TextTable.h"
#include "athanor/plan/Roofline.h"

namespace athanor::plan {
namespace {

using core::Ink;

std::string name_of(Settings settings, const TextOptions& options) {
  if (options.all_bf16) settings.precision = "all bf16";
  return settings.text();
}

void add_row(core::TextTable& table, const Candidate& candidate, const Plan& plan, const TextOptions& options,
             const core::Terminal& terminal) {
  const bool chosen = plan.chosen && candidate.settings == plan.chosen->settings;
  const double share = static_cast<double>(candidate.cost.process.count) /
                       static_cast<double>(std::max<std::int64_t>(plan.budget.count, 1));
  const auto ink = !candidate.fits ? Ink::bad : share > 0.95 ? Ink::warning : Ink::good;
  table.add({chosen ? core::paint(terminal.unicode ? "▸" : ">", Ink::accent, terminal) : "",
             core::paint(core::bar(share, 12, terminal), ink, terminal), candidate.cost.process.text(),
             core::paint(core::duration(candidate.cost.seconds_per_step), chosen ? Ink::strong : Ink::plain, terminal),
             core::paint(name_of(candidate.settings, options), chosen ? Ink::strong : Ink::plain, terminal),
             candidate.fits
                 ? ""
                 : core::paint((candidate.cost.process - plan.budget).text() + " too much", Ink::bad, terminal)});
}

std::string table_of(const Plan& plan, const TextOptions& options, const core::Terminal& terminal) {
  using Align = core::TextTable::Align;
  core::TextTable table({{"", Align::left},
                         {"of the budget", Align::left},
                         {"memory", Align::right},
                         {"a step", Align::right},
                         {"micro-batch × accumulation, settings", Align::left},
                         {"", Align::left}});
  std::size_t fitting = 0, missing = 0;
  for (const auto& candidate : plan.candidates) {
    auto& shown = candidate.fits ? fitting : missing;
    if (shown++ >= (candidate.fits ? options.fitting : options.missing)) continue;
    if (!candidate.fits && missing == 1 && fitting > 0) table.add_gap();
    add_row(table, candidate, plan, options, terminal);
  }
  return table.text(terminal, 2);
}

std::string composition(const Cost& cost) {
  std::string text;
  for (const auto& [name, bytes] : cost.parts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, bytes.text());
  return text;
}

// What no setting of the search takes away.
Bytes floor_of(const Cost& cost) {
  Bytes floor;
  for (const auto& [name, bytes] : cost.parts)
    if (name == "parameters" || name == "optimizer" || name == "CUDA context") floor += bytes;
  return floor;
}

// What the budget costs: the slowest of what would be faster than the chosen one and does not fit.
std::string why(const Plan& plan, const TextOptions& options) {
  const Candidate* next = nullptr;
  for (const auto& candidate : plan.candidates)
    if (!candidate.fits && candidate.cost.seconds_per_step < plan.chosen->cost.seconds_per_step)
      if (next == nullptr || candidate.cost.seconds_per_step > next->cost.seconds_per_step) next = &candidate;
  if (next == nullptr) return "Why: nothing is faster, with more memory either.";
  return fmt::format("Why: the next faster one, {}, takes {} a step and {}, {} too much.",
                     name_of(next->settings, options), core::duration(next->cost.seconds_per_step),
                     next->cost.process.text(), (next->cost.process - plan.budget).text());
}

}  // namespace

std::string explain_miss(const Plan& plan, const TextOptions& options) {
  const auto* miss = plan.nearest_miss();
  if (miss == nullptr) return "nothing was rehearsed";
  std::string text = fmt::format("nothing fits {}: the nearest, {}, takes {}, {} too much: {}", plan.budget.text(),
                                 name_of(miss->settings, options), miss->cost.process.text(),
                                 (miss->cost.process - plan.budget).text(), composition(miss->cost));
  const auto floor = floor_of(miss->cost);
  text += floor > plan.budget
              ? fmt::format(
                    "\nparameters, optimizer state and the CUDA context alone are {}: a smaller model or a GPU "
                    "with more memory than {}",
                    floor.text(), options.gpu)
              : fmt::format(
                    "\nit would fit with a budget of {}, or with fewer layers, a shorter sequence or smaller images",
                    miss->cost.process.text());
  return text;
}

std::string text(const Plan& plan, const TextOptions& options, const core::Terminal& terminal) {
  std::string text = fmt::format("{} within {}: {} of {} combinations rehearsed{}\n\n", options.gpu, plan.budget.text(),
                                 plan.searched(), plan.combinations, plan.complete ? "" : ", then stopped");
  text += table_of(plan, options, terminal) + "\n";
  if (!plan.chosen) return text + explain_miss(plan, options) + "\n";
  const auto changes = plan.chosen->settings.changes(options.written);
  const auto costs = prices(plan.chosen->settings, options.written);
  if (changes.empty())
    text += "What you wrote is the fastest that fits.\n";
  else
    text += "The fastest that fits changes:\n";
  for (std::size_t i = 0; i < changes.size(); ++i)
    text += fmt::format("  {}  {}\n", changes[i], core::paint(costs[i], Ink::quiet, terminal));
  text += why(plan, options) + "\n";
  text += core::paint(fmt::format("Times are a roofline's, ± {} %; their order is what counts.",
                                  std::lround(100 * uncertainty)),
                      Ink::quiet, terminal) +
          "\n";
  return text;
}

plot::Chart frontier(const Plan& plan, const std::string& gpu) {
  plot::Chart chart{.title = "Memory against time: " + gpu,
                    .subtitle = fmt::format("{} rehearsed settings; left of the line fits", plan.searched()),
                    .x = {.label = "memory of the process", .unit = plot::Unit::bytes},
                    .y = {.label = "a step", .unit = plot::Unit::seconds}};
  std::vector<Candidate> by_memory = plan.candidates;
  std::ranges::sort(by_memory, {}, [](const Candidate& c) { return c.cost.process.count; });
  plot::Series best{.name = "nothing is both smaller and faster", .stepped = true};
  double fastest = INFINITY;
  for (const auto& candidate : by_memory) {
    const auto x = static_cast<double>(candidate.cost.process.count);
    const double y = candidate.cost.seconds_per_step;
    const bool chosen = plan.chosen && candidate.settings == plan.chosen->settings;
    chart.markers.push_back({.x = x, .y = y, .label = chosen ? "chosen" : ""});
    if (y >= fastest) continue;
    fastest = y;
    best.x.push_back(x);
    best.y.push_back(y);
  }
  chart.lines.push_back(std::move(best));
  chart.markers.push_back({.x = static_cast<double>(plan.budget.count), .label = "budget"});
  return chart;
}

}  // namespace athanor::plan
