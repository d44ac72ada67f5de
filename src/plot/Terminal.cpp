#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string>

#include "athanor/plot/Chart.h"
#include "plot/Canvas.h"
#include "plot/Thin.h"
#include "plot/Ticks.h"

namespace athanor::plot {
namespace {

constexpr std::array<const char*, 8> kAsciiMarks{"*", "+", "o", "x", "#", "=", "@", "%"};
constexpr std::array<const char*, 8> kMarks{"●", "+", "○", "×", "◆", "=", "▲", "□"};
constexpr std::array<const char*, 8> kAsciiFills{"#", ":", "+", ".", "%", "-", "o", "="};
constexpr std::array<const char*, 8> kShades{"█", "░", "▓", "▒", "#", ":", "+", "."};

class Page {
 public:
  Page(const Chart& chart, TerminalOptions options)
      : chart_(chart),
        options_(options),
        ranges_(ranges_of(chart)),
        canvas_(std::max(options.columns, 24), std::max(options.rows, 8)) {}

  std::string print() {
    head();
    axes();
    if (ranges_.x.empty)
      canvas_.text(left_ + std::max(0, (width_ - 19) / 2), top_ + height_ / 2, "nothing to show yet");
    else
      body();
    return canvas_.print(options_.colour);
  }

 private:
  void head() {
    if (!chart_.title.empty()) canvas_.text(1, top_++, cut(chart_.title, canvas_.columns() - 2, options_.unicode));
    if (!chart_.subtitle.empty() && canvas_.rows() > 10)
      canvas_.text(1, top_++, cut(chart_.subtitle, canvas_.columns() - 2, options_.unicode));
    legend();
    if (!chart_.y.label.empty()) canvas_.text(1, top_++, cut(chart_.y.label, canvas_.columns() - 2, options_.unicode));
    if (names_over_plot(chart_)) ++top_;
  }

  void legend() {
    int column = 1;
    bool any = false;
    const auto entry = [&](const std::string& name, const std::string& mark, int colour) {
      if (name.empty()) return;
      const std::string words = cut(name, canvas_.columns() - 4, options_.unicode);
      if (any && column + 2 + width_of(words) > canvas_.columns()) {
        column = 1;
        ++top_;
      }
      any = true;
      canvas_.put(column, top_, mark, colour);
      canvas_.text(column + 2, top_, words);
      column += 2 + width_of(words) + 3;
    };
    for (std::size_t i = chart_.areas.size(); i-- > 0;) entry(chart_.areas[i].name, fill(i), static_cast<int>(i));
    for (std::size_t i = 0; i < chart_.lines.size(); ++i)
      entry(chart_.lines[i].name, dotted() ? "─" : mark(i), line_colour(i));
    if (any) ++top_;
  }

  void axes() {
    const bool named = !chart_.x.label.empty();
    height_ = std::max(2, canvas_.rows() - top_ - (named ? 3 : 2));
    const auto y_ticks = ticks_of(ranges_.y, chart_.y.unit, std::max(2, height_ / 4));
    int widest = 0;
    for (const auto& tick : y_ticks) widest = std::max(widest, width_of(tick.label));
    left_ = widest + 3;
    width_ = std::max(8, canvas_.columns() - left_ - 1);
    for (int row = 0; row < height_; ++row) canvas_.put(left_ - 1, top_ + row, options_.unicode ? "│" : "|");
    for (const auto& tick : y_ticks) {
      const int row = top_ + row_at(ranges_.y.place(tick.value));
      canvas_.text(left_ - 2 - width_of(tick.label), row, tick.label);
      canvas_.put(left_ - 1, row, options_.unicode ? "┤" : "+");
    }
    const int base = top_ + height_;
    canvas_.put(left_ - 1, base, options_.unicode ? "└" : "+");
    for (int column = 0; column < width_; ++column) canvas_.put(left_ + column, base, options_.unicode ? "─" : "-");
    x_labels(base);
    if (named) {
      const std::string words = cut(chart_.x.label, width_, options_.unicode);
      canvas_.text(left_ + std::max(0, (width_ - width_of(words)) / 2), base + 2, words);
    }
  }

  void x_labels(int base) {
    int free = 0;  // the first column that no label covers
    for (const auto& tick : ticks_of(ranges_.x, chart_.x.unit, width_ / 12)) {
      const int column = left_ + column_at(ranges_.x.place(tick.value));
      const int begin = std::clamp(column - width_of(tick.label) / 2, 0, canvas_.columns() - width_of(tick.label));
      if (begin < free) continue;
      canvas_.put(column, base, options_.unicode ? "┬" : "+");
      canvas_.text(begin, base + 1, tick.label);
      free = begin + width_of(tick.label) + 1;
    }
  }

  void body() {
    const auto tops = stacked(chart_.areas);
    for (std::size_t i = tops.size(); i-- > 0;) area(tops[i], i);
    for (const auto& marker : chart_.markers) rule(marker);
    for (std::size_t i = 0; i < chart_.lines.size(); ++i)
      for (const auto& stroke : strokes_of(chart_.lines[i], ranges_, dotted() ? 2 * width_ : width_)) line(stroke, i);
    for (const auto& marker : chart_.markers) name(marker);
  }

  // Each column is filled to the highest the area reaches in it, the higher tops first.
  void area(const Series& top, std::size_t i) {
    std::vector<double> reach(static_cast<std::size_t>(width_), -1.0);
    for (const auto& stroke : strokes_of(top, ranges_, width_))
      for (std::size_t k = 0; k < stroke.size(); ++k) {
        const int from = column_at(stroke[k == 0 ? 0 : k - 1].x);
        const int to = column_at(stroke[k].x);
        for (int c = from; c <= to; ++c) {
          const double along = to == from ? 1.0 : static_cast<double>(c - from) / (to - from);
          const double before = stroke[k == 0 ? 0 : k - 1].y;
          auto& here = reach[static_cast<std::size_t>(c)];
          here = std::max(here, before + (stroke[k].y - before) * along);
        }
      }
    for (int c = 0; c < width_; ++c) {
      const int filled =
          static_cast<int>(std::lround(std::clamp(reach[static_cast<std::size_t>(c)], 0.0, 1.0) * height_));
      for (int row = 0; row < filled; ++row)
        canvas_.put(left_ + c, top_ + height_ - 1 - row, fill(i), static_cast<int>(i));
    }
  }

  void line(const Stroke& stroke, std::size_t i) {
    const int columns = dotted() ? 2 * width_ : width_;
    const int rows = dotted() ? 4 * height_ : height_;
    const auto x_of = [&](const Spot& spot) {
      return static_cast<int>(std::lround(std::clamp(spot.x, -1.0, 2.0) * (columns - 1)));
    };
    const auto y_of = [&](const Spot& spot) {
      return static_cast<int>(std::lround((1.0 - std::clamp(spot.y, -1.0, 2.0)) * (rows - 1)));
    };
    for (std::size_t k = 0; k < stroke.size(); ++k) {
      const Spot& from = stroke[k == 0 ? 0 : k - 1];
      segment(x_of(from), y_of(from), x_of(stroke[k]), y_of(stroke[k]), columns, rows, i);
    }
  }

  // Bresenham's line in dots or cells.
  void segment(int x, int y, int to_x, int to_y, int columns, int rows, std::size_t i) {
    const int width = std::abs(to_x - x);
    const int height = -std::abs(to_y - y);
    const int step_x = x < to_x ? 1 : -1;
    const int step_y = y < to_y ? 1 : -1;
    int error = width + height;
    while (true) {
      if (x >= 0 && x < columns && y >= 0 && y < rows) {
        if (dotted())
          canvas_.dot(2 * left_ + x, 4 * top_ + y, line_colour(i));
        else
          canvas_.put(left_ + x, top_ + y, mark(i), line_colour(i));
      }
      if (x == to_x && y == to_y) return;
      const int doubled = 2 * error;
      if (doubled >= height) {
        error += height;
        x += step_x;
      }
      if (doubled <= width) {
        error += width;
        y += step_y;
      }
    }
  }

  [[nodiscard]] bool visible(const Marker& marker) const {
    const auto inside = [](const Range& range, std::optional<double> value) {
      return !value || (range.shows(*value) && range.place(*value) >= 0.0 && range.place(*value) <= 1.0);
    };
    return inside(ranges_.x, marker.x) && inside(ranges_.y, marker.y);
  }

  void rule(const Marker& marker) {
    if (!visible(marker) || (marker.x && marker.y)) return;
    if (marker.x)
      for (int row = 0; row < height_; ++row)
        canvas_.put(left_ + column_at(ranges_.x.place(*marker.x)), top_ + row, options_.unicode ? "┊" : ":");
    if (marker.y)
      for (int column = 0; column < width_; ++column)
        canvas_.put(left_ + column, top_ + row_at(ranges_.y.place(*marker.y)), options_.unicode ? "╌" : "-");
  }

  void name(const Marker& marker) {
    if (!visible(marker)) return;
    const bool point = marker.x && marker.y;
    const int column = left_ + (marker.x ? column_at(ranges_.x.place(*marker.x)) : width_ - 1);
    const int row = top_ + (marker.y ? row_at(ranges_.y.place(*marker.y)) : -1);
    if (point) canvas_.put(column, row, options_.unicode ? "◉" : "O");
    const std::string words = cut(marker.label, width_ - 2, options_.unicode);
    const int length = width_of(words);
    const bool to_left = column + 2 + length > left_ + width_;
    const bool over = marker.x && !marker.y;  // the name of a vertical line stands over it
    const int gap = over ? 0 : 2;
    const int begin = to_left ? std::max(left_, column + 1 - length - (marker.x ? gap : 0)) : column + gap;
    const int beside = marker.y && row > top_ ? row - 1 : row;  // over its line or dot, not on what is drawn there
    canvas_.text(begin, beside, words);
  }

  // Braille is the finest, but only colour tells two braille lines apart.
  [[nodiscard]] bool dotted() const { return options_.unicode && (options_.colour || chart_.lines.size() < 2); }
  [[nodiscard]] std::string mark(std::size_t i) const { return options_.unicode ? kMarks[i % 8] : kAsciiMarks[i % 8]; }
  [[nodiscard]] std::string fill(std::size_t i) const {
    if (options_.unicode) return options_.colour ? "█" : kShades[i % 8];
    return kAsciiFills[i % 8];
  }
  [[nodiscard]] int line_colour(std::size_t i) const { return static_cast<int>(chart_.areas.size() + i); }
  [[nodiscard]] int column_at(double place) const {
    return static_cast<int>(std::lround(std::clamp(place, 0.0, 1.0) * (width_ - 1)));
  }
  [[nodiscard]] int row_at(double place) const {
    return height_ - 1 - static_cast<int>(std::lround(std::clamp(place, 0.0, 1.0) * (height_ - 1)));
  }

  const Chart& chart_;
  TerminalOptions options_;
  Ranges ranges_;
  Canvas canvas_;
  int top_ = 0, left_ = 0, width_ = 0, height_ = 0;
};

}  // namespace

std::string Chart::terminal(TerminalOptions options) const {
  return Page(*this, options).print();
}

}  // namespace athanor::plot
