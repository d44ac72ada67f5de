#include "report/PageTables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "athanor/core/Bytes.h"
#include "athanor/core/Format.h"
#include "athanor/core/Markup.h"
#include "report/Html.h"
#include "report/PageData.h"

namespace athanor::report {
namespace {

using nlohmann::json;

std::string status_text(const Run& run) {
  std::string status = run.status();
  std::replace(status.begin(), status.end(), '_', ' ');
  return status.empty() ? "unknown" : status;
}

std::string fact(const std::string& name, const std::string& value, const std::string& kind = "") {
  return fmt::format("<div><dt>{}</dt><dd{}>{}</dd></div>", core::escaped(name),
                     kind.empty() ? "" : " class=\"" + core::escaped(kind) + "\"", core::escaped(value));
}

std::string in_unit(const std::string& name, double value) {
  if (name.starts_with("memory_") && std::isfinite(value) && std::abs(value) < 9e18)
    return Bytes{static_cast<std::int64_t>(value)}.text();
  return core::significant(value, 4);
}

// What one looks for first. Several runs have a table instead.
std::string facts(const Run& run) {
  std::string html = fact("status", status_text(run), run.status());
  if (const auto best = best_of(run))
    html += fact(best->second.substr(0, best->second.rfind(' ')),
                 core::significant(run.number("best.value").value_or(0), 4));
  for (const auto& series : run.series)
    if ((series.split == "val" || series.split == "test") && series.points.size() > 0)
      html += fact("last " + series.split + " " + series.name, in_unit(series.name, series.points.values.back()));
  html += fact("steps", core::grouped(run.last_step()));
  if (!run.epochs.empty())
    html += fact("epochs", core::grouped(run.epochs.back().second + 1));  // metrics.csv counts from 0
  if (const auto seconds = run.number("seconds")) html += fact("time", core::duration(*seconds));
  return "<dl class=\"facts\">" + html + "</dl>\n";
}

std::string comparison(std::span<const Run> runs) {
  std::string html =
      "<div class=\"scroll\"><table><tr><th>run</th><th>status</th><th class=n>steps</th><th class=n>time</th>"
      "<th class=n>best</th><th class=n>last val loss</th></tr>\n";
  std::size_t index = 0;
  for (const Run& run : runs) {
    const auto best = best_of(run);
    const Series* loss = run.find("val", "loss");
    const bool has_loss = loss != nullptr && loss->points.size() > 0;
    html += fmt::format(
        "<tr><td style=\"color: var(--s{})\">{}</td><td class=\"{}\">{}</td><td class=n>{}</td><td class=n>{}</td>"
        "<td class=n>{}</td><td class=n>{}</td></tr>\n",
        index++ % 8, core::escaped(run.name), core::escaped(run.status()), core::escaped(status_text(run)),
        core::grouped(run.last_step()),
        run.number("seconds") ? core::duration(*run.number("seconds")) : std::string("-"),
        best ? core::escaped(best->second.substr(5)) : "-",
        has_loss ? core::significant(loss->points.values.back(), 4) : std::string("-"));
  }
  return html + "</table></div>\n";
}

std::string problems(std::span<const Run> runs) {
  std::string html;
  for (const Run& run : runs)
    for (const auto& problem : run.problems)
      html += "<li>" + core::escaped(runs.size() > 1 ? run.name + ": " + problem : problem) + "</li>";
  return html.empty() ? "" : "<ul class=\"problems\">" + html + "</ul>\n";
}

struct Extremes {
  std::size_t lowest = 0, highest = 0;
  bool any = false;
};

Extremes extremes(const Points& points) {
  Extremes found;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!std::isfinite(points.values[i])) continue;
    if (!found.any) found = {i, i, true};
    if (points.values[i] < points.values[found.lowest]) found.lowest = i;
    if (points.values[i] > points.values[found.highest]) found.highest = i;
  }
  return found;
}

std::string value_cell(const std::string& name, const Points& points, std::size_t at) {
  return fmt::format("<td class=n title=\"{} at step {}\">{}</td>", points.values[at], points.steps[at],
                     core::escaped(in_unit(name, points.values[at])));
}

void flatten(const json& value, const std::string& prefix, std::vector<std::pair<std::string, std::string>>& rows) {
  if (value.is_object() && !value.empty()) {
    for (const auto& [key, inner] : value.items()) flatten(inner, prefix.empty() ? key : prefix + "." + key, rows);
    return;
  }
  rows.emplace_back(prefix, value.is_string() ? value.get<std::string>()
                                              : value.dump(-1, ' ', false, json::error_handler_t::replace));
}

// Rows by key, a column a run; `sources` where a setting is from.
struct Row {
  std::string key;
  std::vector<std::string> values, sources;

  [[nodiscard]] bool differs() const {
    return std::any_of(values.begin(), values.end(), [&](const auto& value) { return value != values.front(); });
  }
  [[nodiscard]] bool all_default() const {
    return std::all_of(sources.begin(), sources.end(), [](const auto& source) { return source == "default"; });
  }
};

Row& row_of(std::vector<Row>& rows, std::map<std::string, std::size_t>& places, const std::string& key,
            std::size_t runs) {
  const auto [at, is_new] = places.emplace(key, rows.size());
  if (is_new) rows.push_back({key, std::vector<std::string>(runs, "-"), std::vector<std::string>(runs)});
  return rows[at->second];
}

std::string side_by_side(std::span<const Run> runs, const std::vector<Row>& rows, bool with_sources) {
  std::string html = "<div class=\"scroll\"><table><tr><th>key</th>";
  for (const Run& run : runs) html += "<th>" + core::escaped(runs.size() > 1 ? run.name : "value") + "</th>";
  if (with_sources) html += "<th>from</th>";
  html += "</tr>\n";
  for (const Row& row : rows) {
    const char* kind = runs.size() > 1 && row.differs()    ? "differs"
                       : with_sources && row.all_default() ? "default"
                                                           : "";
    html += fmt::format("<tr class=\"{}\"><td class=k>{}</td>", kind, core::escaped(row.key));
    for (const auto& value : row.values) html += "<td class=v>" + core::escaped(value) + "</td>";
    if (with_sources) {
      std::vector<std::string> sources;
      for (const auto& source : row.sources)
        if (!source.empty() && std::find(sources.begin(), sources.end(), source) == sources.end())
          sources.push_back(source);
      html += "<td>" + core::escaped(fmt::format("{}", fmt::join(sources, ", "))) + "</td>";
    }
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

}  // namespace

std::string heading(std::span<const Run> runs) {
  std::string html;
  if (runs.size() == 1) {
    html = "<h1>" + core::escaped(runs.front().name) + "</h1>\n<div class=\"sub\">" +
           core::escaped(runs.front().folder.string()) + "</div>\n" + facts(runs.front());
    if (const auto reason = runs.front().text("reason"); reason && !reason->empty())
      html += "<p class=\"note\">" + core::escaped(*reason) + "</p>\n";
  } else {
    html = fmt::format("<h1>{} runs</h1>\n", runs.size()) + comparison(runs);
  }
  return html + problems(runs);
}

std::string figures_table(std::span<const Run> runs) {
  std::string html = "<div class=\"scroll\"><table><tr>";
  if (runs.size() > 1) html += "<th>run</th>";
  html +=
      "<th>split</th><th>metric</th><th class=n>points</th><th class=n>first</th><th class=n>lowest</th>"
      "<th class=n>at step</th><th class=n>highest</th><th class=n>at step</th><th class=n>last</th></tr>\n";
  for (const Run& run : runs)
    for (const Series& series : run.series) {
      const Points& points = series.points;
      const Extremes found = extremes(points);
      if (points.size() == 0) continue;
      html += "<tr>" + (runs.size() > 1 ? "<td>" + core::escaped(run.name) + "</td>" : "");
      html += fmt::format("<td>{}</td><td>{}</td><td class=n>{}</td>", core::escaped(series.split),
                          core::escaped(series.name), core::grouped(static_cast<long long>(points.size())));
      html += value_cell(series.name, points, 0);
      for (const std::size_t at : {found.lowest, found.highest})
        html += found.any ? value_cell(series.name, points, at) +
                                fmt::format("<td class=n>{}</td>", core::grouped(points.steps[at]))
                          : "<td class=n>-</td><td class=n>-</td>";
      html += value_cell(series.name, points, points.size() - 1) + "</tr>\n";
    }
  return html + "</table></div>\n";
}

std::string settings_table(std::span<const Run> runs) {
  std::vector<Row> rows;
  std::map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < runs.size(); ++i)
    for (const Setting& setting : runs[i].settings) {
      Row& row = row_of(rows, places, setting.key, runs.size());
      row.values[i] = setting.value;
      row.sources[i] = setting.source;
    }
  return rows.empty() ? "<p class=\"note\">No configuration was found.</p>\n" : side_by_side(runs, rows, true);
}

std::string environment_table(std::span<const Run> runs) {
  std::vector<Row> rows;
  std::map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    std::vector<std::pair<std::string, std::string>> flat;
    if (runs[i].about.is_object()) flatten(runs[i].about, "", flat);
    for (const auto& [key, value] : flat) row_of(rows, places, key, runs.size()).values[i] = value;
  }
  return rows.empty() ? "<p class=\"note\">run.json was not found.</p>\n" : side_by_side(runs, rows, false);
}

}  // namespace athanor::report
