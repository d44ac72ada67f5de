#include "plot/Thin.h"

#include <algorithm>
#include <cmath>

namespace athanor::plot {
namespace {

// Keeps of each column what an eye could see of it.
class Column {
 public:
  void add(Spot spot) {
    if (!used_) first_ = lowest_ = highest_ = spot;
    if (spot.y < lowest_.y) lowest_ = spot;
    if (spot.y > highest_.y) highest_ = spot;
    last_ = spot;
    used_ = true;
  }
  void drain(Stroke& stroke) {
    if (!used_) return;
    Stroke kept{first_};
    const bool low_first = lowest_.x <= highest_.x;
    for (const Spot& spot : {low_first ? lowest_ : highest_, low_first ? highest_ : lowest_, last_})
      if (spot.x != kept.back().x || spot.y != kept.back().y) kept.push_back(spot);
    stroke.insert(stroke.end(), kept.begin(), kept.end());
    used_ = false;
  }

 private:
  Spot first_, lowest_, highest_, last_;
  bool used_ = false;
};

Stroke with_corners(const Stroke& stroke) {
  Stroke cornered;
  for (const Spot& spot : stroke) {
    if (!cornered.empty() && cornered.back().y != spot.y) cornered.push_back({spot.x, cornered.back().y});
    cornered.push_back(spot);
  }
  return cornered;
}

}  // namespace

std::vector<Stroke> strokes_of(const Series& series, const Ranges& ranges, int columns) {
  std::vector<Stroke> strokes;
  Stroke stroke;
  Column column;
  int at = 0;
  const auto finish = [&] {
    column.drain(stroke);
    if (!stroke.empty()) strokes.push_back(series.stepped ? with_corners(stroke) : std::move(stroke));
    stroke.clear();
  };
  for (std::size_t i = 0; i < series.x.size(); ++i) {
    if (!ranges.x.shows(series.x[i]) || !ranges.y.shows(series.y[i])) {
      finish();
      continue;
    }
    const Spot spot{ranges.x.place(series.x[i]), ranges.y.place(series.y[i])};
    const int here = static_cast<int>(std::floor(std::clamp(spot.x, -1.0, 2.0) * columns));
    if (here != at) column.drain(stroke);
    at = here;
    column.add(spot);
  }
  finish();
  return strokes;
}

std::vector<Series> stacked(const std::vector<Series>& areas) {
  std::vector<Series> tops;
  std::vector<double> sum(areas.empty() ? 0 : areas.front().x.size(), 0.0);
  for (const auto& area : areas) {
    for (std::size_t i = 0; i < sum.size(); ++i)
      if (std::isfinite(area.y[i])) sum[i] += area.y[i];
    tops.push_back({.name = area.name, .x = area.x, .y = sum, .stepped = area.stepped, .faint = area.faint});
  }
  return tops;
}

}  // namespace athanor::plot
