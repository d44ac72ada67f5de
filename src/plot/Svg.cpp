#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "athanor/core/Markup.h"
#include "athanor/plot/Chart.h"
#include "plot/Thin.h"
#include "plot/Ticks.h"

namespace athanor::plot {
namespace {

constexpr std::size_t kColours = 8;
// Distinguishable with the common colour weaknesses, and legible on white and on near-black.
constexpr std::array<const char*, kColours> kLight{"#0b62c4", "#d2500c", "#1f7a3d", "#8e35b0",
                                                   "#c0285a", "#0b7f8c", "#a87900", "#5c6370"};
constexpr std::array<const char*, kColours> kDark{"#5aa9ff", "#ff9a57", "#52cf74", "#cf9bff",
                                                  "#ff7d9f", "#3fc6d0", "#e0b040", "#9aa4b0"};

std::string rules(const std::array<const char*, kColours>& colours, const char* paper, const char* ink,
                  const char* quiet, const char* grid) {
  std::string css = fmt::format(
      ".ach-paper{{fill:{0}}}.ach-ink{{fill:{1}}}.ach-quiet{{fill:{2}}}.ach-grid{{stroke:{3}}}.ach-axis{{stroke:{2}}}"
      ".ach-mark{{stroke:{2}}}.ach-halo{{stroke:{0}}}",
      paper, ink, quiet, grid);
  for (std::size_t i = 0; i < colours.size(); ++i)
    css += fmt::format(".ach-l{0}{{stroke:{1}}}.ach-f{0}{{fill:{1}}}", i, colours[i]);
  return css;
}

std::string style() {
  return "<style>.ach text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
         ".ach .ach-title{font-size:15px;font-weight:600}.ach-line{fill:none}" +
         rules(kLight, "#ffffff", "#1b1f24", "#5b636d", "#e4e7eb") + "@media (prefers-color-scheme:dark){" +
         rules(kDark, "#12161c", "#e6e9ee", "#9aa4b0", "#2a3039") + "}</style>\n";
}

// One decimal is a tenth of a pixel; "12.0" is written "12".
std::string px(double value) {
  std::string text = fmt::format("{:.1f}", value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

double text_width(const std::string& text) {
  const auto glyphs = std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
  return 6.7 * static_cast<double>(glyphs);
}

std::string label(double x, double y, const char* anchor, const std::string& css, const std::string& text) {
  return fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n", px(x), px(y), anchor, css,
                     core::escaped(text));
}

class Drawing {
 public:
  Drawing(const Chart& chart, Size size) : chart_(chart), size_(size), ranges_(ranges_of(chart)) {
    size_.width = std::max(size_.width, 160);
    size_.height = std::max(size_.height, 120);
  }

  std::string svg() {
    head();
    place();
    axes();
    body();
    out_ += "</svg>\n";
    return std::move(out_);
  }

 private:
  void head() {
    out_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"ach\" role=\"img\" viewBox=\"0 0 {0} {1}\" "
        "width=\"{0}\" height=\"{1}\" style=\"max-width:100%;height:auto\">\n",
        size_.width, size_.height);
    out_ += "<title>" +
            core::escaped(chart_.title.empty() ? chart_.y.label + " over " + chart_.x.label : chart_.title) +
            "</title>\n" + style();
    out_ += fmt::format("<rect class=\"ach-paper\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n", size_.width, size_.height);
    top_ = 14;
    if (!chart_.title.empty()) {
      out_ += label(16, top_ + 12, "start", "ach-ink ach-title", chart_.title);
      top_ += 20;
    }
    if (!chart_.subtitle.empty()) {
      out_ += label(16, top_ + 12, "start", "ach-quiet", chart_.subtitle);
      top_ += 18;
    }
    legend();
    top_ += 8;
  }

  // Names in a row under the title, wrapped; the stack is listed from its top down, as it is seen.
  void legend() {
    double x = 16;
    bool any = false;
    const auto entry = [&](const Series& series, std::size_t colour, bool area) {
      if (series.name.empty()) return;
      const double width = 22 + text_width(series.name) + 14;
      if (any && x + width > size_.width - 8) {
        x = 16;
        top_ += 18;
      }
      any = true;
      out_ += area ? fmt::format("<rect class=\"ach-f{}\"{} x=\"{}\" y=\"{}\" width=\"12\" height=\"12\" rx=\"2\"/>\n",
                                 colour, pale(series), px(x), px(top_ + 4))
                   : fmt::format("<path class=\"ach-line ach-l{}\" stroke-width=\"{}\" d=\"M{} {}h14\"/>\n", colour,
                                 series.faint ? "1" : "2.5", px(x), px(top_ + 10));
      out_ += label(x + 20, top_ + 14, "start", "ach-ink", series.name);
      x += width;
    };
    for (std::size_t i = chart_.areas.size(); i-- > 0;) entry(chart_.areas[i], i % kColours, true);
    for (std::size_t i = 0; i < chart_.lines.size(); ++i) entry(chart_.lines[i], line_colour(i), false);
    if (any) top_ += 20;
  }

  void place() {
    const bool x_named = !chart_.x.label.empty();
    if (!chart_.y.label.empty()) {
      out_ += label(16, top_ + 10, "start", "ach-quiet", chart_.y.label);
      top_ += 18;
    }
    top_ += names_over_plot(chart_) ? 16 : 0;
    bottom_ = size_.height - (x_named ? 44.0 : 28.0);
    y_ticks_ = ticks_of(ranges_.y, chart_.y.unit, std::max(2, static_cast<int>((bottom_ - top_) / 45)));
    double widest = 0;
    for (const auto& tick : y_ticks_) widest = std::max(widest, text_width(tick.label));
    left_ = 16 + widest + 8;
    right_ = size_.width - 20.0;
  }

  void axes() {
    for (const auto& tick : y_ticks_) {
      const double y = at_y(ranges_.y.place(tick.value));
      out_ += fmt::format("<line class=\"ach-grid\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>\n", px(left_), px(right_),
                          px(y), px(y));
      out_ += label(left_ - 8, y + 4, "end", "ach-quiet", tick.label);
    }
    for (const auto& tick : ticks_of(ranges_.x, chart_.x.unit, static_cast<int>((right_ - left_) / 80))) {
      const double x = at_x(ranges_.x.place(tick.value));
      out_ += fmt::format("<line class=\"ach-axis\" x1=\"{0}\" x2=\"{0}\" y1=\"{1}\" y2=\"{2}\"/>\n", px(x),
                          px(bottom_), px(bottom_ + 4));
      out_ +=
          label(std::min(x, right_ + 12 - text_width(tick.label) / 2), bottom_ + 18, "middle", "ach-quiet", tick.label);
    }
    out_ += fmt::format("<line class=\"ach-axis\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>\n", px(left_), px(right_),
                        px(bottom_), px(bottom_));
    if (!chart_.x.label.empty())
      out_ += label((left_ + right_) / 2, bottom_ + 36, "middle", "ach-quiet", chart_.x.label);
  }

  // A nested <svg> clips to the plot without an id, so that many charts can share a page.
  void body() {
    if (ranges_.x.empty) {
      out_ += label((left_ + right_) / 2, (top_ + bottom_) / 2, "middle", "ach-quiet", "nothing to show yet");
      return;
    }
    const double width = right_ - left_;
    const double height = bottom_ - top_;
    // Three pixels of room, so that a line along an edge keeps its whole width.
    out_ += fmt::format(
        "<svg x=\"{0}\" y=\"{1}\" width=\"{2}\" height=\"{3}\" viewBox=\"-3 -3 {2} {3}\" "
        "overflow=\"hidden\">\n",
        px(left_ - 3), px(top_ - 3), px(width + 6), px(height + 6));
    const auto tops = stacked(chart_.areas);
    for (std::size_t i = tops.size(); i-- > 0;) area(tops[i], i % kColours, width, height);
    for (std::size_t i = 0; i < chart_.lines.size(); ++i) line(chart_.lines[i], line_colour(i), width, height);
    for (const auto& marker : chart_.markers) rule(marker, width, height);
    out_ += "</svg>\n";
    for (const auto& marker : chart_.markers) name(marker);
  }

  static const char* pale(const Series& area) { return area.faint ? " fill-opacity=\"0.3\"" : ""; }

  // The higher tops first: each lower one paints over, which leaves every area its own band.
  void area(const Series& top, std::size_t colour, double width, double height) {
    const double floor =
        height * (1.0 - std::clamp(ranges_.y.scale == Scale::log ? 0.0 : ranges_.y.place(0.0), 0.0, 1.0));
    for (const auto& stroke : strokes_of(top, ranges_, static_cast<int>(width))) {
      const double left = stroke.front().x * width;
      const double right = stroke.back().x * width;
      out_ += fmt::format("<path class=\"ach-f{}\"{} d=\"M{} {}{}L{} {}Z\"><title>{}</title></path>\n", colour,
                          pale(top), px(left), px(floor), points(stroke, width, height, 'L'), px(right), px(floor),
                          core::escaped(top.name));
    }
  }

  void line(const Series& series, std::size_t colour, double width, double height) {
    for (const auto& stroke : strokes_of(series, ranges_, static_cast<int>(width))) {
      if (stroke.size() == 1) {
        out_ += fmt::format("<circle class=\"ach-f{}\" cx=\"{}\" cy=\"{}\" r=\"2.5\"/>\n", colour,
                            px(stroke[0].x * width), px((1.0 - stroke[0].y) * height));
        continue;
      }
      out_ += fmt::format(
          "<path class=\"ach-line ach-l{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{} d=\"{}\">"
          "<title>{}</title></path>\n",
          colour, series.faint ? "1" : "2", series.faint ? " stroke-opacity=\"0.45\"" : "",
          points(stroke, width, height, 'M'), core::escaped(series.name));
    }
  }

  static std::string points(const Stroke& stroke, double width, double height, char first) {
    std::string text;
    for (const Spot& spot : stroke) {
      text += text.empty() ? first : 'L';
      // Far outside the plot a number of any size would do; a small one keeps the file small.
      text += px(std::clamp(spot.x, -1.0, 2.0) * width) + " " + px((1.0 - std::clamp(spot.y, -1.0, 2.0)) * height);
    }
    return text;
  }

  void rule(const Marker& marker, double width, double height) {
    const double x = marker.x && ranges_.x.shows(*marker.x) ? ranges_.x.place(*marker.x) * width : -99;
    const double y = marker.y && ranges_.y.shows(*marker.y) ? (1.0 - ranges_.y.place(*marker.y)) * height : -99;
    if (marker.x && marker.y)
      out_ += fmt::format("<circle class=\"ach-ink ach-halo\" stroke-width=\"1.5\" cx=\"{}\" cy=\"{}\" r=\"4.5\"/>\n",
                          px(x), px(y));
    else if (marker.x)
      out_ += fmt::format("<path class=\"ach-line ach-mark\" stroke-dasharray=\"4 3\" d=\"M{} 0V{}\"/>\n", px(x),
                          px(height));
    else if (marker.y)
      out_ += fmt::format("<path class=\"ach-line ach-mark\" stroke-dasharray=\"4 3\" d=\"M0 {}H{}\"/>\n", px(y),
                          px(width));
  }

  // Beside its dot or rule, on the side where there is room.
  void name(const Marker& marker) {
    if (marker.label.empty() || (marker.x && !ranges_.x.shows(*marker.x)) || (marker.y && !ranges_.y.shows(*marker.y)))
      return;
    const double x = marker.x ? at_x(ranges_.x.place(*marker.x)) : right_;
    const double y = marker.y ? at_y(ranges_.y.place(*marker.y)) : top_;
    if (x < left_ - 1 || x > right_ + 1 || y < top_ - 1 || y > bottom_ + 1) return;
    const bool to_left = x + 10 + text_width(marker.label) > right_;
    const double baseline = marker.x && !marker.y ? y + 6 : (y - top_ < 24 ? y + 16 : y - 7);
    out_ +=
        label(to_left ? x - (marker.x ? 8 : 2) : x + 8, baseline, to_left ? "end" : "start", "ach-ink", marker.label);
  }

  [[nodiscard]] std::size_t line_colour(std::size_t i) const { return (chart_.areas.size() + i) % kColours; }
  [[nodiscard]] double at_x(double place) const { return left_ + place * (right_ - left_); }
  [[nodiscard]] double at_y(double place) const { return bottom_ - place * (bottom_ - top_); }

  const Chart& chart_;
  Size size_;
  Ranges ranges_;
  std::vector<Tick> y_ticks_;
  double left_ = 0, right_ = 0, top_ = 0, bottom_ = 0;
  std::string out_;
};

}  // namespace

std::string Chart::svg(Size size) const {
  return Drawing(*this, size).svg();
}

}  // namespace athanor::plot
