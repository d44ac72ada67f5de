#include "athanor/schedule/RangeTest.h"

#include <algorithm>

#include "schedule/Rule.h"

namespace athanor::schedule {
namespace {

constexpr auto kKind = "range_test";

void require_options(const RangeTestOptions& options) {
  require(std::isfinite(options.lr_min) && options.lr_min > 0.0, kKind, "lr_min", "> 0", options.lr_min);
  require(std::isfinite(options.lr_max) && options.lr_max > options.lr_min, kKind, "lr_max",
          fmt::format("> lr_min ({})", options.lr_min), options.lr_max);
  require(options.steps >= 3, kKind, "steps", ">= 3", options.steps);
  require(options.smoothing >= 0.0 && options.smoothing < 1.0, kKind, "smoothing", "in [0, 1)", options.smoothing);
  require(std::isfinite(options.divergence) && options.divergence > 1.0, kKind, "divergence", "> 1",
          options.divergence);
  require(options.skip_begin >= 0, kKind, "skip_begin", ">= 0", options.skip_begin);
  require(options.skip_end >= 0, kKind, "skip_end", ">= 0", options.skip_end);
}

double rate_at(const RangeTestOptions& options, std::int64_t i) {
  const double progress = static_cast<double>(i) / static_cast<double>(options.steps - 1);
  if (options.sweep == Sweep::linear) return options.lr_min + (options.lr_max - options.lr_min) * progress;
  return options.lr_min * std::pow(options.lr_max / options.lr_min, progress);
}

// Centred differences over the points that may be suggested; the loss's rise after its lowest point is not among them.
std::optional<double> steepest(const std::vector<RangePoint>& points, const RangeTestOptions& options) {
  const auto lowest = std::min_element(points.begin(), points.end(),
                                       [](const auto& a, const auto& b) { return a.smoothed < b.smoothed; });
  const auto count = std::ssize(points);
  const auto begin = std::max<std::int64_t>(options.skip_begin, 1);
  const auto end = std::min<std::int64_t>({lowest - points.begin() + 1, count - options.skip_end, count - 1});
  std::optional<double> best;
  double slope = 0.0;
  for (auto i = begin; i < end; ++i) {
    const auto& before = points[static_cast<std::size_t>(i - 1)];
    const auto& after = points[static_cast<std::size_t>(i + 1)];
    const double run = options.sweep == Sweep::exponential ? std::log(after.lr / before.lr) : after.lr - before.lr;
    const double here = (after.smoothed - before.smoothed) / run;
    // A flat loss falls by a rounding here and there; that is no slope.
    const bool falls = before.smoothed - after.smoothed > 1e-9 * std::abs(before.smoothed);
    if (!falls || here >= slope) continue;
    slope = here;
    best = points[static_cast<std::size_t>(i)].lr;
  }
  return best;
}

RangeTestResult sweep(const RangeTestSubject& subject, const RangeTestOptions& options) {
  RangeTestResult result;
  double average = 0.0;
  double weight = 1.0;  // what the average still lacks of being one
  double best = 0.0;
  for (std::int64_t i = 0; i < options.steps; ++i) {
    RangePoint point{.lr = rate_at(options, i)};
    point.loss = subject.step(point.lr);
    result.diverged = !std::isfinite(point.loss);
    if (result.diverged) break;
    average = options.smoothing * average + (1.0 - options.smoothing) * point.loss;
    weight *= options.smoothing;
    point.smoothed = average / (1.0 - weight);
    best = i == 0 ? point.smoothed : std::min(best, point.smoothed);
    result.points.push_back(point);
    result.diverged = point.smoothed > best + (options.divergence - 1.0) * std::abs(best);
    if (result.diverged) break;
  }
  return result;
}

}  // namespace

RangeTestResult range_test(const RangeTestSubject& subject, RangeTestOptions options) {
  require_options(options);
  if (!subject.step) throw std::invalid_argument("schedule::range_test: needs a function lr -> loss, got an empty one");
  if (subject.save) subject.save();
  RangeTestResult result;
  try {
    result = sweep(subject, options);
  } catch (...) {
    if (subject.restore) subject.restore();
    throw;
  }
  if (subject.restore) subject.restore();
  if (result.points.size() >= 3) result.suggestion = steepest(result.points, options);
  return result;
}

}  // namespace athanor::schedule
