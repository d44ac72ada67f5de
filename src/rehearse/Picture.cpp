#include "athanor/rehearse/Picture.h"

#include <fmt/format.h>

#include <algorithm>

#include "athanor/core/Bytes.h"
#include "athanor/core/Format.h"
#include "athanor/core/TextTable.h"

namespace athanor::rehearse {
namespace {

constexpr std::size_t most_points = 1500;

// The moments worth drawing: of each stretch of events the one with most memory in use.
std::vector<std::uint32_t> moments(const Ledger& ledger, int device) {
  std::vector<std::uint32_t> mine;
  for (std::uint32_t i = 0; i < ledger.events.size(); ++i)
    if (ledger.blocks[ledger.events[i].block].device == device) mine.push_back(i);
  if (mine.size() <= most_points) return mine;
  std::vector<std::uint32_t> chosen;
  for (std::size_t bucket = 0; bucket < most_points; ++bucket) {
    const auto from = mine.begin() + static_cast<std::ptrdiff_t>(bucket * mine.size() / most_points);
    const auto to = mine.begin() + static_cast<std::ptrdiff_t>((bucket + 1) * mine.size() / most_points);
    chosen.push_back(*std::max_element(
        from, to, [&](auto a, auto b) { return ledger.events[a].allocated < ledger.events[b].allocated; }));
  }
  return chosen;
}

void add_step_markers(plot::Chart& chart, const Ledger& ledger, int steps) {
  int step = 0;
  for (std::size_t i = 0; i < ledger.events.size(); ++i) {
    if (ledger.events[i].step == step) continue;
    step = ledger.events[i].step;
    if (step <= steps) chart.markers.push_back({.x = static_cast<double>(i), .label = fmt::format("step {}", step)});
  }
}

core::TextTable by_category(const Forecast& forecast) {
  core::TextTable table(
      {{"at the peak"}, {"allocated", core::TextTable::Align::right}, {"share", core::TextTable::Align::right}});
  std::int64_t total = 0;
  for (const auto bytes : forecast.by_category) total += bytes;
  for (std::size_t i = 0; i < category_count; ++i) {
    const auto bytes = forecast.by_category[i];
    table.add(
        {std::string(name(static_cast<Category>(i))), Bytes{bytes}.text(),
         fmt::format("{:.1f} %", total > 0 ? 100.0 * static_cast<double>(bytes) / static_cast<double>(total) : 0)});
  }
  return table;
}

core::TextTable by_module(const Forecast& forecast) {
  core::TextTable table({{"largest modules at the peak"},
                         {"allocated", core::TextTable::Align::right},
                         {"activations", core::TextTable::Align::right}});
  const auto rows = forecast.ledger.by_module(forecast.peak_event, 0, forecast.device);
  for (std::size_t i = 0; i < std::min<std::size_t>(rows.size(), 8); ++i)
    table.add({rows[i].name.empty() ? "(none)" : rows[i].name, Bytes{rows[i].bytes}.text(),
               Bytes{rows[i].by_category[static_cast<std::size_t>(Category::activations)]}.text()});
  return table;
}

}  // namespace

std::string sizes(const Range& range) {
  if (range.low == range.high) return Bytes{range.value}.text();
  const std::string low = Bytes{range.low}.text(), high = Bytes{range.high}.text();
  if (low == high) return high;  // it shows no more than that
  return fmt::format("{} ({} to {})", Bytes{range.value}.text(), low, high);
}

std::string verdict(const Forecast& forecast) {
  if (!forecast.fits) return "does not fit";
  if (forecast.surely_fits) return "fits";
  return fmt::format("fits, unless CUDA's libraries take more than {} of the {} they may",
                     Bytes{forecast.gpu.usable.count - forecast.peak.process.value}.text(),
                     Bytes{forecast.peak.process.high - forecast.peak.process.value}.text());
}

plot::Chart timeline(const Forecast& forecast) {
  const auto& ledger = forecast.ledger;
  plot::Chart chart;
  chart.title = "GPU memory over time";
  chart.subtitle = fmt::format("{}: peak {} allocated, {} reserved", forecast.gpu.name,
                               Bytes{forecast.peak.allocated.value}.text(), Bytes{forecast.peak.reserved.value}.text());
  chart.x.label = "allocations and frees";
  chart.y.unit = plot::Unit::bytes;
  chart.y.min = 0;
  const auto chosen = moments(ledger, forecast.device);
  chart.areas.resize(category_count);
  for (std::size_t i = 0; i < category_count; ++i) chart.areas[i].name = name(static_cast<Category>(i));
  ByCategory now{};
  std::size_t next = 0;
  for (std::uint32_t i = 0; i < ledger.events.size() && next < chosen.size(); ++i) {
    const auto& block = ledger.blocks[ledger.events[i].block];
    if (block.device != forecast.device) continue;
    now[static_cast<std::size_t>(block.category)] += ledger.events[i].free ? -block.size : block.size;
    if (i != chosen[next]) continue;
    for (std::size_t c = 0; c < category_count; ++c) {
      chart.areas[c].x.push_back(i);
      chart.areas[c].y.push_back(static_cast<double>(now[c]));
    }
    ++next;
  }
  add_step_markers(chart, ledger, forecast.steps);
  const auto usable = static_cast<double>((forecast.gpu.usable - forecast.gpu.context_bytes).count);
  if (static_cast<double>(forecast.peak.reserved.value) > usable / 2)
    chart.markers.push_back({.y = usable, .label = "usable"});
  return chart;
}

std::string describe(const Forecast& forecast, const core::Terminal& terminal) {
  const auto& peak = forecast.peak;
  const auto ink = forecast.fits ? core::Ink::good : core::Ink::bad;
  auto text = fmt::format("{}: {} of {} usable, {}\n\n", forecast.gpu.name, Bytes{peak.process.value}.text(),
                          forecast.gpu.usable.text(), core::paint(verdict(forecast), ink, terminal));
  core::TextTable peaks({{"peak"}, {""}});
  peaks.add({"requested", sizes(peak.requested)});
  peaks.add({"allocated", sizes(peak.allocated)});
  peaks.add({"reserved", sizes(peak.reserved)});
  peaks.add({"process",
             fmt::format("{}, {} of it the CUDA context", sizes(peak.process), forecast.gpu.context_bytes.text())});
  text += peaks.text(terminal) + "\n" + by_category(forecast).text(terminal) + "\n" +
          by_module(forecast).text(terminal) + "\n";
  text += fmt::format("Peak in step {} ({}), in {}{}{}.\n", forecast.peak_step, name(forecast.peak_phase),
                      forecast.peak_operator, forecast.peak_module.empty() ? "" : " of ", forecast.peak_module);
  if (forecast.ledger.pinned_peak > 0)
    text += fmt::format("Pinned host memory: {}.\n", Bytes{forecast.ledger.pinned_peak}.text());
  for (const auto& note : forecast.notes) text += note + "\n";
  return text;
}

}  // namespace athanor::rehearse
