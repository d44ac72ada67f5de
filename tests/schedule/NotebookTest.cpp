// The schedules of the notebook this toolkit grew out of, each with values worked out by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "athanor/schedule/Schedule.h"

namespace athanor::schedule {
namespace {

TEST(Notebook, MultiStepFallsAt30And80) {
  const Schedule rate = multi_step({.milestones = {30, 80}, .gamma = 0.1});
  EXPECT_DOUBLE_EQ(rate(29, 0.1).lr, 0.1);
  EXPECT_DOUBLE_EQ(rate(30, 0.1).lr, 0.01);
  EXPECT_DOUBLE_EQ(rate(79, 0.1).lr, 0.01);
  EXPECT_DOUBLE_EQ(rate(80, 0.1).lr, 0.001);
}

TEST(Notebook, StepTakesSevenTenthsEverySecondStep) {
  const Schedule rate = step({.step_size = 2, .gamma = 0.7});
  const std::vector<double> expected{1.0, 1.0, 0.7, 0.7, 0.49, 0.49, 0.343};
  for (std::size_t t = 0; t < expected.size(); ++t)
    EXPECT_DOUBLE_EQ(rate(static_cast<std::int64_t>(t), 1.0).lr, expected[t]) << t;
}

TEST(Notebook, CosineGoesFromTheBaseRateToItsFloor) {
  constexpr std::int64_t kTotal = 100;
  const Schedule rate = cosine_annealing({.t_max = kTotal, .eta_min = 1e-6});
  EXPECT_DOUBLE_EQ(rate(0, 1e-3).lr, 1e-3);
  EXPECT_NEAR(rate(kTotal / 2, 1e-3).lr, (1e-3 + 1e-6) / 2.0, 1e-18);
  EXPECT_NEAR(rate(kTotal, 1e-3).lr, 1e-6, 1e-18);
}

TEST(Notebook, WarmRestartsComeAt50And150And350) {
  const Schedule rate = cosine_annealing_warm_restarts({.t_0 = 50, .t_mult = 2, .eta_min = 1e-6});
  for (const std::int64_t restart : {0, 50, 150, 350}) EXPECT_DOUBLE_EQ(rate(restart, 1e-3).lr, 1e-3) << restart;
  for (const std::int64_t before : {49, 149, 349}) EXPECT_LT(rate(before, 1e-3).lr, 3e-6) << before;
}

TEST(Notebook, ReduceOnPlateauHalvesAfterTenBadEpochsAndSaysSo) {
  std::vector<Reduction> said;
  ReduceOnPlateau plateau({.mode = Mode::min,
                           .factor = 0.5,
                           .patience = 10,
                           .verbose = true,
                           .threshold = 1e-4,
                           .min_lr = 1e-6,
                           .on_reduction = [&](const Reduction& reduction) { said.push_back(reduction); }});
  double lr = 1e-3;
  lr = plateau.observe(1.0, lr);
  for (int bad = 0; bad < 10; ++bad) lr = plateau.observe(1.0, lr);
  EXPECT_DOUBLE_EQ(lr, 1e-3) << "ten bad epochs are borne";
  lr = plateau.observe(1.0, lr);
  EXPECT_DOUBLE_EQ(lr, 5e-4);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].observation, 12);
  EXPECT_DOUBLE_EQ(said[0].from, 1e-3);
  EXPECT_DOUBLE_EQ(said[0].to, 5e-4);
  for (int epoch = 0; epoch < 1000; ++epoch) lr = plateau.observe(1.0, lr);
  EXPECT_DOUBLE_EQ(lr, 1e-6) << "never below min_lr";
}

TEST(Notebook, TheWarmUpClassIsOneLineOfCustom) {
  const Schedule written = custom(
      [](std::int64_t t, double base_lr) { return base_lr * std::min(1.0, static_cast<double>(t + 1) / 1000.0); });
  const Schedule named = linear_warmup({.steps = 1000});
  for (std::int64_t t = 0; t < 1200; ++t) ASSERT_DOUBLE_EQ(written(t, 3e-4).lr, named(t, 3e-4).lr) << t;
  EXPECT_DOUBLE_EQ(named(0, 3e-4).lr, 3e-7);
  EXPECT_DOUBLE_EQ(named(999, 3e-4).lr, 3e-4);
}

}  // namespace
}  // namespace athanor::schedule
