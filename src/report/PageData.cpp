#include "report/PageData.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "athanor/core/Bytes.h"
#include "athanor/core/Format.h"

namespace athanor::report {
namespace {

using nlohmann::json;
constexpr std::size_t kFewestPoints = 64;  // of a series, however many there are

json values(const std::vector<double>& numbers) {
  json list = json::array();
  for (const double number : numbers) {
    if (std::isfinite(number))
      list.push_back(number);
    else
      list.push_back(std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf");
  }
  return list;
}

constexpr std::size_t kMostTimes = 2000;  // of a run's clock; between them time is a straight line

bool is_memory(const std::string& name) {
  return name.starts_with("memory_");
}

// Not curves: the time is an axis, and the forecast a limit in the picture of the memory.
bool is_drawn(const std::string& name) {
  return name != "elapsed_seconds" && name != "memory_forecast";
}

// Loss first, then other metrics as they come, then what the training itself did.
int rank(const std::string& name) {
  if (name == "loss") return 0;
  if (name == "lr") return 2;
  if (name == "grad_norm" || name == "gradient_norm") return 3;
  if (name.ends_with("_per_second")) return 4;
  if (is_memory(name)) return 5;
  return 1;
}

std::string title_of(const std::string& name) {
  if (name == "lr") return "learning rate";
  if (name == "grad_norm" || name == "gradient_norm") return "gradient norm";
  std::string title = name;
  std::replace(title.begin(), title.end(), '_', ' ');
  return title;
}

json memory_limits(std::span<const Run> runs) {
  json limits = json::array();
  for (const Run& run : runs)
    if (const auto forecast = run.number("memory.forecast"); forecast && *forecast > 0) {
      const std::string whose = runs.size() > 1 ? run.name + " " : "";
      limits.push_back(
          {{"value", *forecast}, {"label", whose + "forecast " + Bytes{static_cast<std::int64_t>(*forecast)}.text()}});
    }
  return limits;
}

json panels(std::span<const Run> runs) {
  std::vector<std::string> names;
  for (const Run& run : runs)
    for (const Series& series : run.series)
      if (is_drawn(series.name) && std::find(names.begin(), names.end(), series.name) == names.end())
        names.push_back(series.name);
  std::stable_sort(names.begin(), names.end(), [](const auto& a, const auto& b) { return rank(a) < rank(b); });
  json list = json::array();
  json memory = {{"title", "memory"},    {"unit", "bytes"},    {"names", json::array()},       {"smooth", false},
                 {"log_allowed", false}, {"per_split", false}, {"limits", memory_limits(runs)}};
  for (const auto& name : names) {
    if (is_memory(name)) {
      memory["names"].push_back(name);
      continue;
    }
    const int kind = rank(name);
    list.push_back({{"title", title_of(name)},
                    {"unit", "number"},
                    {"names", {name}},
                    {"smooth", kind != 2},
                    {"log_allowed", kind != 4},
                    {"per_split", kind <= 1}});
  }
  if (!memory["names"].empty()) list.push_back(std::move(memory));
  return list;
}

// When each step was done: seconds of training, over all parts of a run that was resumed.
json clock(const Run& run) {
  json steps = json::array(), seconds = json::array();
  const Series* elapsed = run.find("train", "elapsed_seconds");
  if (elapsed == nullptr) return {{"x", steps}, {"y", seconds}};
  const Points& points = elapsed->points;
  const std::size_t stride = points.size() / kMostTimes + 1;
  double before = 0, last = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double value = points.values[i];
    if (!std::isfinite(value) || value < 0) continue;
    if (value < last) before += last;  // a resume begins from zero
    last = value;
    if (i % stride != 0 && i + 1 < points.size()) continue;
    steps.push_back(points.steps[i]);
    seconds.push_back(before + value);
  }
  return {{"x", steps}, {"y", seconds}};
}

json marks(const Run& run) {
  json list = json::array();
  for (const auto step : run.checkpoints)
    list.push_back({{"step", step}, {"kind", "checkpoint"}, {"label", fmt::format("checkpoint at step {}", step)}});
  if (const auto best = best_of(run))
    list.push_back({{"step", best->first}, {"kind", "best"}, {"label", best->second}});
  if (run.status() == "early_stopped")
    list.push_back({{"step", run.last_step()}, {"kind", "stopped"}, {"label", "stopped early"}});
  return list;
}

}  // namespace

std::optional<std::pair<std::int64_t, std::string>> best_of(const Run& run) {
  const auto metric = run.text("best.metric");
  const auto value = run.number("best.value");
  if (!metric || !value) return std::nullopt;
  const auto underscore = metric->find('_');
  if (underscore == std::string::npos) return std::nullopt;
  const Series* series = run.find(metric->substr(0, underscore), metric->substr(underscore + 1));
  if (series == nullptr || series->points.size() == 0) return std::nullopt;
  // run.json names value and epoch; the step is that of the row with this value, or the nearest to it.
  std::size_t at = 0;
  for (std::size_t i = 0; i < series->points.size(); ++i)
    if (std::abs(series->points.values[i] - *value) < std::abs(series->points.values[at] - *value)) at = i;
  return std::pair{series->points.steps[at], fmt::format("best {} {}", *metric, core::significant(*value, 4))};
}

json page_data(std::span<const Run> runs, std::size_t points) {
  std::size_t count = 0;
  for (const Run& run : runs) count += run.series.size();
  const std::size_t share = std::max(kFewestPoints, points / std::max<std::size_t>(count, 1));
  json list = json::array();
  for (const Run& run : runs) {
    json series = json::array();
    for (const Series& one : run.series) {
      if (!is_drawn(one.name)) continue;
      const Thinned thinned = thin(one.points, share);
      series.push_back({{"split", one.split},
                        {"name", one.name},
                        {"n", one.points.size()},
                        {"x", thinned.points.steps},
                        {"y", values(thinned.points.values)},
                        {"mx", thinned.means.steps},
                        {"my", values(thinned.means.values)}});
    }
    // A run of very many short epochs would weigh more than its curves.
    const auto& epochs = run.epochs;
    json kept = json::array();
    for (std::size_t i = 0; i < epochs.size(); i += epochs.size() / 2000 + 1)
      kept.push_back({epochs[i].first, epochs[i].second});
    list.push_back(
        {{"name", run.name}, {"epochs", kept}, {"clock", clock(run)}, {"marks", marks(run)}, {"series", series}});
  }
  return {{"panels", panels(runs)}, {"runs", list}};
}

}  // namespace athanor::report
