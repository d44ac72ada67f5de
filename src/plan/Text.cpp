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

void add_row(core::TextTable& table, const Candidate& candidate, const Plan& plan, const core::Terminal& terminal,
             bool chosen) {
  const double share = static_cast<double>(candidate.cost.process.count) /
                       static_cast<double>(std::max<std::int64_t>(plan.budget.count, 1));
  const auto ink = !candidate.fits ? Ink::bad : share > 0.95 ? Ink::warning : Ink::good;
  table.add({chosen ? core::paint(terminal.unicode ? "▸" : ">", Ink::accent, terminal) : "",
             core::paint(core::bar(share, 12, terminal), ink, terminal), candidate.cost.process.text(),
             core::paint(core::duration(candidate.cost.seconds_per_step), chosen ? Ink::strong : Ink::plain, terminal),
             core::paint(candidate.settings.text(), chosen ? Ink::strong : Ink::plain, terminal),
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
    add_row(table, candidate, plan, terminal, plan.chosen && candidate.settings == plan.chosen->settings);
  }
  return table.text(terminal, 2);
}

std::string composition(const Cost& cost) {
  std::string text;
  for (const auto& [name, bytes] : cost.by_category)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, bytes.text());
  return text;
}

}  // namespace

std::string explain_miss(const Plan& plan, const TextOptions& options) {
  const auto* miss = plan.nearest_miss();
  if (miss == nullptr) return "nothing was rehearsed";
  std::string text = fmt::format("nothing fits {}: the nearest, {}, takes {}, {} too much; at its peak {}",
                                 plan.budget.text(), miss->settings.text(), miss->cost.process.text(),
                                 (miss->cost.process - plan.budget).text(), composition(miss->cost));
  Bytes fixed;
  for (const auto& [name, bytes] : miss->cost.by_category)
    if (name == "parameters" || name == "optimizer") fixed += bytes;
  text += fixed > plan.budget
              ? fmt::format(
                    "\nparameters and optimizer state alone are {}: a smaller model or a GPU with more memory than {}",
                    fixed.text(), options.gpu)
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
