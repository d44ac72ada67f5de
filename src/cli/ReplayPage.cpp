#include "cli/ReplayPage.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "athanor/core/Bytes.h"
#include "athanor/core/Format.h"
#include "athanor/core/Markup.h"
#include "athanor/plot/Chart.h"

namespace athanor::cli {
namespace {

using allocator::Block;
using allocator::BlockState;
using allocator::Moment;
using allocator::Segment;

constexpr std::size_t named_holders = 6;
constexpr int map_width = 720;
constexpr int row_height = 9;
constexpr int rows = 40;

// The holders' colours; what is free has those of the chart over time.
constexpr std::array<const char*, named_holders> light{"#0b62c4", "#8e35b0", "#0b7f8c",
                                                       "#a87900", "#c0285a", "#5c6370"};
constexpr std::array<const char*, named_holders> dark{"#5aa9ff", "#cf9bff", "#3fc6d0", "#e0b040", "#ff7d9f", "#9aa4b0"};

std::string text(std::int64_t bytes) {
  return Bytes{bytes}.text();
}

std::string map_style() {
  std::string css =
      "<style>.am text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
      ".am .t{font-size:15px;font-weight:600}";
  const auto colours = [&](const auto& holders, const char* paper, const char* ink, const char* quiet,
                           const char* others, const char* stuck, const char* spare) {
    css +=
        fmt::format(".am-p{{fill:{}}}.am-i{{fill:{}}}.am-q{{fill:{}}}.am-o{{fill:{}}}.am-s{{fill:{}}}.am-r{{fill:{}}}",
                    paper, ink, quiet, others, stuck, spare);
    for (std::size_t i = 0; i < named_holders; ++i) css += fmt::format(".am-h{}{{fill:{}}}", i, holders[i]);
  };
  colours(light, "#ffffff", "#1b1f24", "#5b636d", "#c9ced5", "#d2500c", "#bcd7c5");
  css += "@media (prefers-color-scheme:dark){";
  colours(dark, "#12161c", "#e6e9ee", "#9aa4b0", "#4a525d", "#ff9a57", "#254e36");
  return css + "}</style>\n";
}

/// A stretch of the reserved bytes, laid end to end, in one colour.
struct Stretch {
  std::int64_t begin = 0, end = 0;
  std::string css;
};

std::vector<Stretch> stretches(const ReplayReport& report, const std::map<std::string, std::size_t>& colour_of) {
  std::vector<Stretch> out;
  std::int64_t at = 0;
  std::map<std::uint32_t, std::string> css_of;
  for (const Segment& segment : report.replay.segments_at_peak) {
    const bool idle = segment.blocks.size() == 1 && segment.blocks[0].state == BlockState::free;
    for (const Block& block : segment.blocks) {
      std::string css = idle || segment.expandable ? "am-r" : "am-s";
      if (block.state != BlockState::free) {
        const auto stack = report.replay.stacks_at_peak.find(block.address);
        const std::uint32_t id = stack == report.replay.stacks_at_peak.end() ? 0 : stack->second;
        auto [known, is_new] = css_of.try_emplace(id);
        if (is_new) {
          const auto colour = colour_of.find(report.snapshot->frames.culprit(id));
          known->second = colour == colour_of.end() ? "am-o" : fmt::format("am-h{}", colour->second);
        }
        css = known->second;
      }
      if (!out.empty() && out.back().css == css)
        out.back().end = at + block.size;
      else
        out.push_back({at, at + block.size, css});
      at += block.size;
    }
  }
  return out;
}

// The rectangles of one row. Pieces thinner than a third of a pixel join their neighbour.
std::string row(const std::vector<Stretch>& all, std::size_t& next, std::int64_t begin, std::int64_t per_row, int y) {
  std::string svg;
  double drawn = 0;
  const auto x_of = [&](std::int64_t byte) {
    return static_cast<double>(byte - begin) / static_cast<double>(per_row) * map_width;
  };
  while (next < all.size() && all[next].begin < begin + per_row) {
    const double to = x_of(std::min(all[next].end, begin + per_row));
    if (to - drawn >= 0.33) {
      svg += fmt::format("<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" class=\"{}\"/>\n", drawn, y,
                         to - drawn, row_height - 1, all[next].css);
      drawn = to;
    }
    if (all[next].end > begin + per_row) break;
    ++next;
  }
  return svg;
}

std::string legend(int x, int y, const std::string& css, const std::string& label) {
  return fmt::format(
      "<rect x=\"{}\" y=\"{}\" width=\"11\" height=\"11\" class=\"{}\"/><text x=\"{}\" y=\"{}\" "
      "class=\"am-i\">{}</text>\n",
      x, y, css, x + 17, y + 10, core::escaped(label));
}

std::string clipped(std::string label, std::size_t most) {
  if (label.size() > most) label = label.substr(0, most - 1) + "…";
  return label;
}

int map_height() {
  return 52 + rows * row_height + 14 + 5 * 18;
}

// The inside of the map, drawn at the origin.
std::string map_body(const ReplayReport& report) {
  const auto& holders = report.replay.holders;
  std::map<std::string, std::size_t> colour_of;
  for (std::size_t i = 0; i < std::min(named_holders, holders.size()); ++i) colour_of[holders[i].frame] = i;
  const std::vector<Stretch> all = stretches(report, colour_of);
  const std::int64_t total = std::max<std::int64_t>(1, all.empty() ? 1 : all.back().end);
  const std::int64_t per_row = (total + rows - 1) / rows;
  std::string svg = fmt::format(
      "<text x=\"0\" y=\"18\" class=\"t am-i\">Segments at the peak of allocated memory</text>\n<text x=\"0\" y=\"36\" "
      "class=\"am-q\">{} reserved, in the order of addresses, {} a row</text>\n",
      text(total), text(per_row));
  std::size_t next = 0;
  int y = 52;
  for (std::int64_t begin = 0; begin < total; begin += per_row, y += row_height)
    svg += row(all, next, begin, per_row, y);
  y += 14;
  std::int64_t others = 0, stuck = 0, spare = 0;
  for (const Stretch& stretch : all) {
    if (stretch.css == "am-o") others += stretch.end - stretch.begin;
    if (stretch.css == "am-s") stuck += stretch.end - stretch.begin;
    if (stretch.css == "am-r") spare += stretch.end - stretch.begin;
  }
  std::vector<std::pair<std::string, std::string>> entries;
  for (const auto& [frame, colour] : colour_of)
    entries.emplace_back(fmt::format("am-h{}", colour),
                         fmt::format("{}  {}", clipped(holder_name(holders[colour]), 36), text(holders[colour].bytes)));
  std::ranges::sort(entries);
  if (others > 0) entries.emplace_back("am-o", fmt::format("held by others  {}", text(others)));
  entries.emplace_back("am-s", fmt::format("free, stuck in segments in use  {}", text(stuck)));
  entries.emplace_back("am-r", fmt::format("free, can be given back  {}", text(spare)));
  for (std::size_t i = 0; i < entries.size(); ++i)
    svg +=
        legend(i % 2 == 0 ? 0 : map_width / 2, y + static_cast<int>(i / 2) * 18, entries[i].first, entries[i].second);
  return svg;
}

plot::Chart chart(const ReplayReport& report) {
  const auto& moments = report.replay.moments;
  plot::Chart chart;
  chart.title = "Memory over time";
  chart.y.unit = plot::Unit::bytes;
  chart.y.min = 0;
  const bool timed = !moments.empty() && moments.back().time_us > moments.front().time_us;
  chart.x.label = timed ? "seconds" : "events";
  plot::Series allocated{"allocated", {}, {}, false, false};
  plot::Series stuck{"stuck", {}, {}, false, false};
  plot::Series cached{"cached, can be given back", {}, {}, false, true};
  double last = 0;
  for (const Moment& moment : moments) {
    const double x =
        timed ? static_cast<double>(moment.time_us - moments.front().time_us) / 1e6 : static_cast<double>(moment.step);
    last = std::max(last, x);
    const std::int64_t held = std::min(moment.stuck, moment.reserved - moment.allocated);
    for (plot::Series* series : {&allocated, &stuck, &cached}) series->x.push_back(last);
    allocated.y.push_back(static_cast<double>(moment.allocated));
    stuck.y.push_back(static_cast<double>(held));
    cached.y.push_back(static_cast<double>(moment.reserved - moment.allocated - held));
  }
  chart.subtitle = fmt::format("peaks: {} allocated, {} reserved", text(report.replay.peak_allocated),
                               text(report.replay.peak_reserved));
  chart.areas = {std::move(allocated), std::move(stuck), std::move(cached)};
  if (report.capacity != allocator::unlimited)
    chart.markers.push_back({std::nullopt, static_cast<double>(report.capacity), "capacity"});
  return chart;
}

std::string table(const std::vector<std::vector<std::string>>& cells) {
  std::string html = "<table>";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    html += "<tr>";
    for (const std::string& cell : cells[i])
      html += fmt::format("<{0}>{1}</{0}>", i == 0 ? "th" : "td", core::escaped(cell));
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

}  // namespace

std::string holder_name(const allocator::Holder& holder) {
  if (!holder.frame.empty()) return holder.frame;
  return holder.older ? "(no call stack: older than the history)" : "(no call stack was recorded)";
}

std::string peak_range(const allocator::Outcome& outcome) {
  const std::string lowest = text(outcome.lowest()), highest = text(outcome.highest());
  return lowest == highest ? highest : lowest + " to " + highest;
}

std::string memory_over_time(const ReplayReport& report) {
  return chart(report).svg({720, 320});
}

std::string segment_map(const ReplayReport& report) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-16 -8 {0} {1}\" width=\"{0}\" height=\"{1}\" class=\"am\" "
      "role=\"img\">\n{2}<rect x=\"-16\" y=\"-8\" width=\"{0}\" height=\"{1}\" class=\"am-p\"/>\n{3}</svg>\n",
      map_width + 32, map_height() + 16, map_style(), map_body(report));
}

std::string replay_picture(const ReplayReport& report) {
  // An <svg> may hold <svg>s: each keeps its own coordinates.
  std::string upper = memory_over_time(report), lower = segment_map(report);
  upper.insert(upper.find("<svg") + 4, " x=\"16\" y=\"0\"");
  lower.insert(lower.find("<svg") + 4, " x=\"0\" y=\"336\"");
  // Its own size holds inside, not its container's.
  if (const std::size_t style = upper.find(" style=\"max-width"); style < upper.find('>'))
    upper.erase(style, upper.find('"', style + 9) + 1 - style);
  const int height = 336 + map_height() + 16;
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">\n"
      "{2}<rect width=\"{0}\" height=\"{1}\" class=\"am-p\"/>\n{3}{4}</svg>\n",
      map_width + 32, height, map_style(), upper, lower);
}

std::string replay_page(const ReplayReport& report) {
  const auto& fidelity = report.replay.fidelity;
  std::string html =
      "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
      "<title>Memory history</title>\n<style>"
      ":root{color-scheme:light dark}"
      "body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;max-width:800px;margin:2em auto;"
      "padding:0 1em;overflow-wrap:anywhere}"
      "h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}svg{max-width:100%;height:auto}"
      "table{border-collapse:collapse;display:block;overflow-x:auto}"
      "th,td{text-align:left;padding:.2em 1em .2em 0;font-variant-numeric:tabular-nums}"
      "th:not(:last-child),td:not(:last-child){white-space:nowrap}td:last-child{min-width:9em}"
      "th{font-weight:600;border-bottom:1px solid #8886}"
      ".advice{padding:.7em 1em;border-left:4px solid #0b62c4;background:#8881}"
      "code{font-size:.95em}.quiet{opacity:.7}</style>\n";
  html += fmt::format("<h1>{}</h1>\n<p>Device {}, {} events{}. {}</p>\n", core::escaped(report.file),
                      report.history->device, core::grouped(static_cast<long long>(report.history->events)),
                      report.history->partial ? " (partial: the file is truncated)" : "",
                      fidelity.exact() ? "The model reproduces every address and every segment of this history."
                                       : "The model does not reproduce this history in every event; see below.");
  html += fmt::format("<p class=\"advice\">{}{}</p>\n", core::escaped(report.advice.sentence),
                      report.advice.conf.empty() ? ""
                                                 : fmt::format("<br><code>export PYTORCH_CUDA_ALLOC_CONF={}</code>",
                                                               core::escaped(report.advice.conf)));
  html += memory_over_time(report) + segment_map(report);
  html += "<h2>Under other settings</h2>\n";
  std::vector<std::vector<std::string>> cells{{"settings", "peak reserved", "retries", "fits"}};
  for (const auto& outcome : report.outcomes) {
    cells.push_back({outcome.settings.text().empty() ? "defaults" : outcome.settings.text(), peak_range(outcome),
                     std::to_string(outcome.retries), outcome.out_of_memory ? "no" : "yes"});
  }
  html += table(cells) + "<h2>Held at the peak</h2>\n";
  cells = {{"bytes", "blocks", "where"}};
  for (std::size_t i = 0; i < std::min<std::size_t>(30, report.replay.holders.size()); ++i) {
    const auto& holder = report.replay.holders[i];
    cells.push_back({text(holder.bytes), std::to_string(holder.blocks), holder_name(holder)});
  }
  html += table(cells);
  html +=
      fmt::format("<h2>Faithfulness</h2>\n<p>Addresses {} of {}, segments taken {} of {}, given back {} of {}.</p>\n",
                  fidelity.addresses.matched, fidelity.addresses.recorded, fidelity.segment_allocs.matched,
                  fidelity.segment_allocs.recorded, fidelity.segment_frees.matched, fidelity.segment_frees.recorded);
  for (const std::string& note : report.notes) html += fmt::format("<p class=\"quiet\">{}</p>\n", core::escaped(note));
  return html + "</html>\n";
}

}  // namespace athanor::cli
