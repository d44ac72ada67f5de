#include "athanor/schedule/RangeTest.h"

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

namespace athanor::schedule {
namespace {

// A loss that falls with the logarithm of the rate around 1e-3, and rises beyond 1.
double basin(double lr) {
  return 2.0 - std::tanh(std::log10(lr) + 3.0) + (lr > 1.0 ? lr * lr : 0.0);
}

TEST(RangeTest, SuggestsWhereTheLossFallsMostSteeply) {
  const auto result = range_test({.step = basin}, {.smoothing = 0.0});
  ASSERT_TRUE(result.suggestion.has_value());
  EXPECT_NEAR(std::log10(*result.suggestion), -3.0, 0.1);
  EXPECT_TRUE(result.diverged);
  EXPECT_LT(result.points.size(), 100U) << "stops where it diverges";
  EXPECT_DOUBLE_EQ(result.points.front().lr, 1e-7);
  EXPECT_NEAR(result.points[1].lr / result.points[0].lr, std::pow(1e8, 1.0 / 99.0), 1e-12);
}

TEST(RangeTest, SmoothingIsAnAverageWithoutBias) {
  const auto result = range_test({.step = [](double) { return 5.0; }}, {.smoothing = 0.9});
  for (const auto& point : result.points) EXPECT_NEAR(point.smoothed, 5.0, 1e-12);
  EXPECT_FALSE(result.suggestion.has_value()) << "a loss that never falls suggests nothing";
  EXPECT_FALSE(result.diverged);
  EXPECT_EQ(result.points.size(), 100U);
}

TEST(RangeTest, LinearSweepsAreEven) {
  const auto result = range_test({.step = [](double lr) { return 10.0 - lr; }},
                                 {.lr_min = 1.0, .lr_max = 3.0, .steps = 21, .sweep = Sweep::linear});
  for (std::size_t i = 0; i < 21; ++i) EXPECT_NEAR(result.points[i].lr, 1.0 + 0.1 * static_cast<double>(i), 1e-12);
  EXPECT_TRUE(result.suggestion.has_value());
}

TEST(RangeTest, StopsAtALossThatIsNotFinite) {
  int steps = 0;
  const auto result = range_test({.step = [&](double) { return ++steps < 20 ? 1.0 / steps : std::nan(""); }});
  EXPECT_EQ(steps, 20);
  EXPECT_EQ(result.points.size(), 19U);
  EXPECT_TRUE(result.diverged);
}

TEST(RangeTest, PutsEverythingBackAlsoWhenAStepThrows) {
  int saved = 0;
  int restored = 0;
  const auto subject = [&](std::function<double(double)> step) {
    return RangeTestSubject{.step = std::move(step), .save = [&] { ++saved; }, .restore = [&] { ++restored; }};
  };
  (void)range_test(subject(basin));
  EXPECT_EQ(saved, 1);
  EXPECT_EQ(restored, 1);
  EXPECT_THROW(range_test(subject([](double) -> double { throw std::runtime_error("no memory"); })),
               std::runtime_error);
  EXPECT_EQ(saved, 2);
  EXPECT_EQ(restored, 2);
}

}  // namespace
}  // namespace athanor::schedule
