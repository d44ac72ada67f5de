#pragma once
#include <vector>

#include "athanor/plot/Chart.h"
#include "plot/Ticks.h"

namespace athanor::plot {

/// A place in the plot, both coordinates 0 … 1 from the lower left (beyond where the data lies beyond the axes).
struct Spot {
  double x = 0.0;
  double y = 0.0;
};
using Stroke = std::vector<Spot>;  // joined without a gap

/// A series as strokes: split where a point cannot be shown, thinned to the first, lowest, highest and last point of
/// each of `columns` columns, and with the corners of a stepped line.
std::vector<Stroke> strokes_of(const Series& series, const Ranges& ranges, int columns);

/// The tops of stacked areas as series, the lowest first.
std::vector<Series> stacked(const std::vector<Series>& areas);

}  // namespace athanor::plot
