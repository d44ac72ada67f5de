#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace athanor::schedule {

enum class Sweep { exponential, linear };

struct RangeTestOptions {
  double lr_min = 1e-7;      ///< The first rate; > 0.
  double lr_max = 10.0;      ///< The last rate; > lr_min.
  std::int64_t steps = 100;  ///< Rates to try; >= 3.
  Sweep sweep = Sweep::exponential;
  double smoothing = 0.8;        ///< Of the loss's moving average, bias taken out; in [0, 1); 0 does not smooth.
  double divergence = 4.0;       ///< Stops where the smoothed loss is so many times its best; > 1.
  std::int64_t skip_begin = 10;  ///< Points at the beginning that no suggestion is made from; >= 0.
  std::int64_t skip_end = 5;     ///< The same before the end, where the loss turns; >= 0.
};

/// What a range test moves, in three functions of its caller.
struct RangeTestSubject {
  std::function<double(double lr)> step;  ///< One training step at this rate; returns its loss.
  std::function<void()> save = {};        ///< Called once before the first step.
  std::function<void()> restore = {};     ///< Called once after the last one, also if a step threw: puts all back.
};

struct RangePoint {
  double lr = 0.0;
  double loss = 0.0;
  double smoothed = 0.0;
};

struct RangeTestResult {
  std::vector<RangePoint> points;
  std::optional<double>
      suggestion;         ///< The rate at which the smoothed loss fell most steeply; absent if it never fell.
  bool diverged = false;  ///< Whether the loss ended the test before lr_max.
};

/// Learning-rate range test: trains a few steps with a rising rate and watches where the loss falls fastest. Steepness
/// is by log(lr) in an exponential sweep, by lr in a linear one. Throws std::invalid_argument for options out of range.
/// Source: Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3.
RangeTestResult range_test(const RangeTestSubject& subject, RangeTestOptions options = {});

}  // namespace athanor::schedule
