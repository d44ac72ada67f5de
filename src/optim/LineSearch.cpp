#include "optim/LineSearch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace athanor::optim {
namespace {

constexpr double sufficient_decrease = 1e-4;
constexpr double curvature = 0.9;

// The minimum of the cubic through two points and slopes, kept within bounds.
double cubic_minimum(const LinePoint& a, const LinePoint& b, double low, double high) {
  const double d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.at - b.at);
  const double square = d1 * d1 - a.slope * b.slope;
  if (!(square >= 0)) return (low + high) / 2;
  const double d2 = std::sqrt(square);
  const LinePoint& left = a.at <= b.at ? a : b;
  const LinePoint& right = a.at <= b.at ? b : a;
  const double minimum =
      right.at - (right.at - left.at) * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2));
  return std::min(std::max(minimum, low), high);
}

bool too_high(const LinePoint& point, const LinePoint& start) {
  return point.loss > start.loss + sufficient_decrease * point.at * start.slope;
}

bool flat_enough(const LinePoint& point, const LinePoint& start) {
  return std::abs(point.slope) <= -curvature * start.slope;
}

struct Bracket {
  LinePoint low;   // the lower loss
  LinePoint high;  // the other end
  bool done = false;

  void sort() {
    if (low.loss > high.loss) std::swap(low, high);
  }
};

// A trial inside the bracket; moved off its ends where the search makes no progress.
double trial(const Bracket& bracket, bool& stuck) {
  const double left = std::min(bracket.low.at, bracket.high.at);
  const double right = std::max(bracket.low.at, bracket.high.at);
  double t = cubic_minimum(bracket.low, bracket.high, left, right);
  const double margin = 0.1 * (right - left);
  if (std::min(right - t, t - left) >= margin) {
    stuck = false;
    return t;
  }
  if (stuck || t >= right || t <= left) {
    t = std::abs(t - right) < std::abs(t - left) ? right - margin : left + margin;
    stuck = false;
  } else {
    stuck = true;
  }
  return t;
}

}  // namespace

LineSearchResult strong_wolfe(const std::function<LinePoint(double)>& evaluate, LinePoint start, double first,
                              double longest, double tolerance_change, std::int64_t max_evaluations) {
  LinePoint previous = start;
  LinePoint point = evaluate(first);
  LineSearchResult result{.point = {}, .evaluations = 1};
  Bracket bracket;
  bool bracketed = false;
  std::int64_t round = 0;
  for (; round < max_evaluations; ++round) {
    if (too_high(point, start) || (round > 1 && point.loss >= previous.loss)) {
      bracket = {.low = previous, .high = point};
    } else if (flat_enough(point, start)) {
      bracket = {.low = point, .high = point, .done = true};
    } else if (point.slope >= 0) {
      bracket = {.low = previous, .high = point};
    } else {
      const double t = cubic_minimum(previous, point, point.at + 0.01 * (point.at - previous.at), point.at * 10);
      previous = point;
      point = evaluate(t);
      ++result.evaluations;
      continue;
    }
    bracketed = true;
    break;
  }
  if (!bracketed) bracket = {.low = start, .high = point};
  bracket.sort();
  for (bool stuck = false; !bracket.done && round < max_evaluations; ++round) {
    if (std::abs(bracket.high.at - bracket.low.at) * longest < tolerance_change) break;
    point = evaluate(trial(bracket, stuck));
    ++result.evaluations;
    if (too_high(point, start) || point.loss >= bracket.low.loss) {
      bracket.high = point;
      bracket.sort();
      continue;
    }
    if (flat_enough(point, start)) {
      bracket.done = true;
    } else if (point.slope * (bracket.high.at - bracket.low.at) >= 0) {
      bracket.high = bracket.low;
    }
    bracket.low = point;
  }
  result.point = bracket.low;
  return result;
}

}  // namespace athanor::optim
