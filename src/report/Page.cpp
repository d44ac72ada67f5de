#include "athanor/report/Page.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

#include "athanor/core/Markup.h"
#include "report/Assets.h"
#include "report/Html.h"
#include "report/PageData.h"
#include "report/PageTables.h"

namespace athanor::report {
namespace {

std::string title_of(std::span<const Run> runs) {
  std::string title;
  for (const Run& run : runs) title += (title.empty() ? "" : ", ") + run.name;
  return title;
}

// A run has a clock if its training logged when each step was done.
bool has_clock(const Run& run) {
  const Series* elapsed = run.find("train", "elapsed_seconds");
  return elapsed != nullptr && elapsed->points.size() > 0;
}

std::string controls(std::span<const Run> runs, double refresh_seconds) {
  std::string html =
      "<div class=\"controls\"><label>smoothing <input type=\"range\" id=\"smooth\" min=\"0\" max=\"0.99\" "
      "step=\"0.01\"><output id=\"weight\"></output></label>"
      "<label><input type=\"checkbox\" id=\"log\"> logarithmic</label>";
  if (std::all_of(runs.begin(), runs.end(), has_clock))
    html += "<label><input type=\"checkbox\" id=\"time\"> over time</label>";
  if (refresh_seconds > 0)
    html += fmt::format("<label><input type=\"checkbox\" id=\"live\"> reload every {:g} s</label>", refresh_seconds);
  return html + "</div>\n";
}

std::string body(std::span<const Run> runs, const PageOptions& options) {
  const bool several = runs.size() > 1;
  std::string html = heading(runs) + controls(runs, options.refresh_seconds);
  html += "<div class=\"charts\"></div>\n<noscript><p>The curves need JavaScript; the tables do not.</p></noscript>\n";
  html += "<h2>Figures</h2>\n" + figures_table(runs);
  html += std::string("<h2>Configuration</h2>\n<p class=\"note\">") +
          (several ? "Coloured keys differ between the runs. " : "") + "Quiet rows are defaults.</p>\n" +
          settings_table(runs);
  html += "<h2>Environment and outcome</h2>\n" + environment_table(runs);
  html += "<footer>Triangles on the axis are checkpoints. Values are those of metrics.csv";
  if (!options.made.empty()) html += "; made " + core::escaped(options.made);
  return html + "; Athanor.</footer>\n";
}

// One pass, so that what is put in is never searched for further places.
std::string filled(std::string_view form, const std::vector<std::pair<std::string_view, std::string>>& parts) {
  std::string text;
  while (!form.empty()) {
    const auto open = form.find("{{");
    const auto close = form.find("}}", open == std::string_view::npos ? form.size() : open);
    if (close == std::string_view::npos) break;
    text += form.substr(0, open);
    for (const auto& [name, part] : parts)
      if (form.substr(open + 2, close - open - 2) == name) text += part;
    form.remove_prefix(close + 2);
  }
  return text + std::string(form);
}

}  // namespace

std::string page(std::span<const Run> runs, const PageOptions& options) {
  if (runs.empty()) throw std::invalid_argument("report::page: no runs given");
  if (options.points < 8) throw std::invalid_argument("report::page: points must be at least 8");
  nlohmann::json data = page_data(runs, options.points);
  data["title"] = title_of(runs);
  data["refresh_seconds"] = options.refresh_seconds;
  std::string json = data.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return filled(kPageHtml, {{"title", core::escaped(title_of(runs))},
                            {"style", kPageCss},
                            {"script", kPageJs},
                            {"body", body(runs, options)},
                            {"data", inside_script(std::move(json))}});
}

}  // namespace athanor::report
