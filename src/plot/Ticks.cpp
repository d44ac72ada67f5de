#include "plot/Ticks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace athanor::plot {
namespace {

struct Extent {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value, Scale scale) {
    if (!std::isfinite(value) || (scale == Scale::log && value <= 0.0)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

Range settle(const Axis& axis, Extent extent, bool breathe) {
  const bool log = axis.scale == Scale::log;
  const bool empty = extent.low > extent.high;
  if (empty) extent = log ? Extent{1.0, 10.0} : Extent{0.0, 1.0};
  Range range{extent.low, extent.high, axis.scale, empty};
  if (breathe && !log) {
    if (range.low > 0.0 && range.low < 0.4 * range.high) range.low = 0.0;
    const double room = 0.06 * (range.high - range.low);
    range.high += room;
    if (range.low < 0.0) range.low -= room;
  } else if (breathe) {
    const double room = std::pow(range.high / range.low, 0.06);
    range.low /= room;
    range.high *= room;
  }
  if (axis.min && range.shows(*axis.min)) range.low = *axis.min;
  if (axis.max && range.shows(*axis.max)) range.high = *axis.max;
  if (range.low < range.high) return range;
  // A single value, or ends that cross: open a little around it.
  const double middle = range.low;
  range.low = log ? middle / 2.0 : middle - (middle == 0.0 ? 1.0 : std::abs(middle) * 0.5);
  range.high = log ? middle * 2.0 : middle + (middle == 0.0 ? 1.0 : std::abs(middle) * 0.5);
  if (!log && middle >= 0.0) range.low = std::max(range.low, 0.0);
  return range;
}

void require_whole(const Chart& chart) {
  for (const auto* family : {&chart.lines, &chart.areas})
    for (const auto& series : *family)
      if (series.x.size() != series.y.size())
        throw std::invalid_argument(
            fmt::format("plot::Chart: series '{}' has {} x for {} y", series.name, series.x.size(), series.y.size()));
  for (const auto& area : chart.areas)
    if (area.x != chart.areas.front().x)
      throw std::invalid_argument(
          fmt::format("plot::Chart: area '{}' has other x than the first one; stacked areas share "
                      "their x",
                      area.name));
}

// The step of a round scale: 1, 2 or 5 times a power of ten (2 in binary units), at least `least`.
double round_step(double least, bool binary) {
  if (binary) return std::exp2(std::round(std::log2(least)));
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double digit : {1.0, 2.0, 5.0})
    if (digit * power >= least * (1.0 - 1e-9)) return digit * power;
  return 10.0 * power;
}

std::vector<double> linear_places(const Range& range, bool binary, int wanted) {
  const double step = round_step((range.high - range.low) / std::max(1, wanted), binary);
  std::vector<double> places;
  const double first = std::ceil(range.low / step - 1e-9);
  for (double i = first; i * step <= range.high + 1e-9 * step && places.size() < 100; ++i) places.push_back(i * step);
  return places;
}

std::vector<double> log_places(const Range& range, int wanted) {
  const int low = static_cast<int>(std::floor(std::log10(range.low)));
  const int high = static_cast<int>(std::ceil(std::log10(range.high)));
  const int decades = high - low;
  const int stride = std::max(1, decades / std::max(1, wanted));
  std::vector<double> places;
  const auto fill = [&](std::initializer_list<double> digits) {
    places.clear();
    for (int decade = low; decade <= high; decade += stride)
      for (const double digit : digits)
        if (const double at = digit * std::pow(10.0, decade);
            at >= range.low * (1 - 1e-9) && at <= range.high * (1 + 1e-9))
          places.push_back(at);
  };
  fill({1.0});
  if (places.size() < 3 && stride == 1) fill({1.0, 2.0, 5.0});
  return places;
}

struct Prefix {
  double size;
  const char* name;
};
constexpr std::array<Prefix, 6> kBinary{{{1.0, "B"},
                                         {1024.0, "KiB"},
                                         {1048576.0, "MiB"},
                                         {1073741824.0, "GiB"},
                                         {1099511627776.0, "TiB"},
                                         {1125899906842624.0, "PiB"}}};

// Shortest of up to four digits: 0.25, 1, 12.5.
std::string trimmed(double value) {
  return fmt::format("{:.4g}", value == 0.0 ? 0.0 : value);
}

std::string number_text(double value, double smallest = 1e-3) {
  const double size = std::abs(value);
  if (size >= 1e15 || (size > 0.0 && size < smallest)) {
    // 1e-05 is what printf writes; people write 1e-5.
    std::string text = fmt::format("{:.3g}", value);
    if (const auto e = text.find('e'); e != std::string::npos)
      while (e + 2 < text.size() - 1 && text[e + 2] == '0') text.erase(e + 2, 1);
    if (const auto plus = text.find("e+"); plus != std::string::npos) text.erase(plus + 1, 1);
    return text;
  }
  for (const auto& [unit, name] : {Prefix{1e12, "T"}, Prefix{1e9, "G"}, Prefix{1e6, "M"}, Prefix{1e3, "k"}})
    if (size >= unit * (unit == 1e3 ? 10.0 : 1.0)) return trimmed(value / unit) + name;
  return trimmed(value);
}

std::string bytes_text(double value) {
  std::size_t i = 0;
  while (i + 1 < kBinary.size() && std::abs(value) >= kBinary[i + 1].size) ++i;
  return value == 0.0 ? "0" : trimmed(value / kBinary[i].size) + " " + kBinary[i].name;
}

std::string seconds_text(double value) {
  const double size = std::abs(value);
  if (value == 0.0) return "0";
  if (size < 1e-3) return trimmed(value * 1e6) + " µs";
  if (size < 1.0) return trimmed(value * 1e3) + " ms";
  if (size < 120.0) return trimmed(value) + " s";
  if (size < 7200.0) return trimmed(value / 60.0) + " min";
  return trimmed(value / 3600.0) + " h";
}

}  // namespace

double Range::place(double value) const {
  if (scale == Scale::log) return std::log(value / low) / std::log(high / low);
  return (value - low) / (high - low);
}

bool Range::shows(double value) const {
  return std::isfinite(value) && (scale == Scale::linear || value > 0.0);
}

Ranges ranges_of(const Chart& chart) {
  require_whole(chart);
  Extent x, y;
  const auto add_x = [&](const std::vector<double>& values) {
    for (const double value : values) x.add(value, chart.x.scale);
  };
  for (const auto& series : chart.lines) {
    add_x(series.x);
    for (const double value : series.y) y.add(value, chart.y.scale);
  }
  if (!chart.areas.empty()) {
    add_x(chart.areas.front().x);
    for (std::size_t i = 0; i < chart.areas.front().x.size(); ++i) {
      double top = 0.0;
      for (const auto& area : chart.areas)
        if (std::isfinite(area.y[i])) top += area.y[i];
      y.add(top, chart.y.scale);
    }
    y.add(0.0, chart.y.scale);
  }
  const bool drawn = x.low <= x.high;
  for (const auto& marker : chart.markers) {
    if (marker.x) x.add(*marker.x, chart.x.scale);
    if (marker.y) y.add(*marker.y, chart.y.scale);
  }
  Ranges ranges{settle(chart.x, x, false), settle(chart.y, y, true)};
  if (!chart.areas.empty() && chart.y.scale == Scale::linear && !chart.y.min)
    ranges.y.low = std::min(0.0, ranges.y.low);
  ranges.x.empty = ranges.x.empty || !drawn;
  return ranges;
}

bool names_over_plot(const Chart& chart) {
  return std::any_of(chart.markers.begin(), chart.markers.end(),
                     [](const Marker& marker) { return marker.x && !marker.y && !marker.label.empty(); });
}

std::vector<Tick> ticks_of(const Range& range, Unit unit, int wanted) {
  const auto places =
      range.scale == Scale::log ? log_places(range, wanted) : linear_places(range, unit == Unit::bytes, wanted);
  std::vector<Tick> ticks;
  // Decades read best in one notation: 1e-5, 1e-4, 1e-3.
  const bool decades = range.scale == Scale::log && unit == Unit::number && range.low < 1e-3;
  for (const double place : places)
    ticks.push_back({place, decades ? number_text(place, 0.0099) : text_of(place, unit)});
  return ticks;
}

std::string text_of(double value, Unit unit) {
  switch (unit) {
    case Unit::bytes:
      return bytes_text(value);
    case Unit::seconds:
      return seconds_text(value);
    case Unit::number:
      break;
  }
  return number_text(value);
}

}  // namespace athanor::plot
