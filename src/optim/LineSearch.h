#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace athanor::optim {

/// A point of the line: how far along the direction, the loss there, its gradient, and the gradient's part along the
/// line.
struct LinePoint {
  double at = 0;
  double loss = 0;
  at::Tensor grad;
  double slope = 0;
};

struct LineSearchResult {
  LinePoint point;
  std::int64_t evaluations = 0;
};

/// Finds a point that meets the strong Wolfe conditions (loss falls by at least 1e-4 of what the slope promises, slope
/// shrinks to 0.9), by bracketing and cubic interpolation. `evaluate` gives the point at a distance; `longest` is the
/// largest element of the direction.
LineSearchResult strong_wolfe(const std::function<LinePoint(double)>& evaluate, LinePoint start, double first,
                              double longest, double tolerance_change, std::int64_t max_evaluations);

}  // namespace athanor::optim
