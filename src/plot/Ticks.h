#pragma once
#include <string>
#include <vector>

#include "athanor/plot/Chart.h"

namespace athanor::plot {

/// An axis whose ends are known.
struct Range {
  double low = 0.0;
  double high = 1.0;
  Scale scale = Scale::linear;
  bool empty = true;  // nothing to show on it

  /// Where a value lies, 0 at low and 1 at high.
  [[nodiscard]] double place(double value) const;
  /// Whether a value can be drawn at all.
  [[nodiscard]] bool shows(double value) const;
};

struct Tick {
  double value = 0.0;
  std::string label = {};
};

/// The ends of both axes from everything in the chart. Throws std::invalid_argument for series that are not whole.
struct Ranges {
  Range x, y;
};
Ranges ranges_of(const Chart& chart);

/// Whether a vertical line has a name, which then stands over the plot and needs room there.
bool names_over_plot(const Chart& chart);

/// Round values inside the range, about `wanted` of them.
std::vector<Tick> ticks_of(const Range& range, Unit unit, int wanted);

/// One value as an axis of this unit writes it.
std::string text_of(double value, Unit unit);

}  // namespace athanor::plot
