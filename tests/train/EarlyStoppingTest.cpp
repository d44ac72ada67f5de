#include "athanor/train/EarlyStopping.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace athanor::train {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// The epoch at which a sequence of metrics stops it, or -1.
std::int64_t stops_at(EarlyStoppingOptions options, const std::vector<double>& metrics) {
  EarlyStopping stopping(std::move(options));
  torch::nn::Linear model(1, 1);
  for (std::size_t epoch = 0; epoch < metrics.size(); ++epoch)
    if (stopping.observe(metrics[epoch], *model, static_cast<std::int64_t>(epoch)).stop)
      return static_cast<std::int64_t>(epoch);
  return -1;
}

TEST(EarlyStopping, CountsObservationsWithoutImprovement) {
  EXPECT_EQ(stops_at({.patience = 2}, {5, 4, 4, 3, 3, 3}), 5);
  EXPECT_EQ(stops_at({.patience = 0}, {5, 4, 3, 3}), 3);
  EXPECT_EQ(stops_at({.patience = 1}, {5, 4, 3, 3}), 3);
  EXPECT_EQ(stops_at({.patience = 2, .mode = Mode::max}, {1, 2, 2, 3, 1, 2}), 5);
  EXPECT_EQ(stops_at({.patience = 3}, {5, 4, 3, 2, 1}), -1);
}

TEST(EarlyStopping, AnImprovementIsMoreThanMinDelta) {
  EXPECT_EQ(stops_at({.patience = 1, .min_delta = 0.5}, {5, 4.5}), 1) << "exactly min_delta is not more";
  EXPECT_EQ(stops_at({.patience = 1, .min_delta = 0.5}, {5, 4.4, 3.8}), -1);
  EXPECT_EQ(stops_at({.patience = 1, .min_delta = 0.1, .delta = Delta::relative}, {100, 91}), 1);
  EXPECT_EQ(stops_at({.patience = 1, .min_delta = 0.1, .delta = Delta::relative}, {100, 89}), -1);
  // Relative to the magnitude, so it works below zero too (pytorch#47513 is the same trap in ReduceLROnPlateau).
  EXPECT_EQ(stops_at({.patience = 1, .min_delta = 0.1, .delta = Delta::relative}, {-100, -105}), 1);
  EXPECT_EQ(stops_at({.patience = 1, .min_delta = 0.1, .delta = Delta::relative}, {-100, -111}), -1);
}

TEST(EarlyStopping, ABaselineKeepsPatienceRunningUntilItIsBeaten) {
  EXPECT_EQ(stops_at({.patience = 3, .baseline = 1.0}, {5, 4, 3}), 2) << "improving, but never below 1";
  EXPECT_EQ(stops_at({.patience = 3, .baseline = 1.0}, {5, 4, 0.9, 0.95, 0.97}), -1);
}

TEST(EarlyStopping, EarlyEpochsCountForNothing) {
  EarlyStopping stopping({.patience = 1, .start_from_epoch = 2});
  torch::nn::Linear model(1, 1);
  for (const std::int64_t epoch : {0, 1}) EXPECT_FALSE(stopping.observe(0.1, *model, epoch).improved);
  EXPECT_TRUE(stopping.observe(0.5, *model, 2).improved) << "0.1 came too early to be the best";
  EXPECT_EQ(stopping.best_epoch(), 2);
}

TEST(EarlyStopping, ANonFiniteMetricIsNeverTheBest) {
  torch::nn::Linear model(1, 1);
  EarlyStopping stopping({});
  EXPECT_EQ(stopping.observe(kNan, *model, 0).reason, StopReason::non_finite);
  EXPECT_EQ(stopping.observe(-INFINITY, *model, 1).reason, StopReason::non_finite);
  EXPECT_FALSE(stopping.best());
  EXPECT_EQ(stops_at({.patience = 2, .check_finite = false}, {kNan, 3, -INFINITY, kNan}), 3);
}

TEST(EarlyStopping, TextsCountEpochsAsTheProgressLineDoes) {
  torch::nn::Linear model(1, 1);
  EarlyStopping stopping({.patience = 1});
  EXPECT_FALSE(stopping.observe(1, *model, 0).stop);
  EXPECT_NE(stopping.observe(2, *model, 1).message.find("best 1.000 in epoch 1"), std::string::npos);
}

TEST(EarlyStopping, ThresholdsStopAtOnce) {
  torch::nn::Linear model(1, 1);
  EarlyStopping good({.mode = Mode::max, .stopping_threshold = 0.9});
  EXPECT_FALSE(good.observe(0.9, *model, 0).stop) << "not better than it";
  const auto verdict = good.observe(0.91, *model, 1);
  EXPECT_EQ(verdict.reason, StopReason::threshold_reached);
  EXPECT_TRUE(verdict.improved) << "what it stopped at is the best";
  EarlyStopping bad({.divergence_threshold = 10.0});
  EXPECT_FALSE(bad.observe(10, *model, 0).stop);
  EXPECT_EQ(bad.observe(10.5, *model, 1).reason, StopReason::diverged);
}

TEST(EarlyStopping, RestoresTheBestWeightsAndBuffersFromTheSameMemory) {
  torch::nn::BatchNorm1d model(3);
  const auto set = [&](double value) {
    const torch::NoGradGuard no_grad;
    model->weight.fill_(value);
    model->running_mean.fill_(value);
  };
  EarlyStopping stopping({.patience = 5});
  EXPECT_FALSE(stopping.restore_best(*model)) << "nothing kept yet";
  set(1);
  ASSERT_TRUE(stopping.observe(3, *model, 0).improved);
  const void* memory = stopping.best_weights()[0].second.data_ptr();
  set(2);
  ASSERT_TRUE(stopping.observe(2, *model, 1).improved);
  EXPECT_EQ(stopping.best_weights()[0].second.data_ptr(), memory);
  set(9);
  ASSERT_FALSE(stopping.observe(4, *model, 2).improved);
  ASSERT_TRUE(stopping.restore_best(*model));
  EXPECT_TRUE(model->weight.eq(2).all().item<bool>());
  EXPECT_TRUE(model->running_mean.eq(2).all().item<bool>());
}

TEST(EarlyStopping, AMissingMetricIsAnErrorThatListsWhatThereIs) {
  torch::nn::Linear model(1, 1);
  EarlyStopping stopping({.monitor = "val_los"});
  try {
    (void)stopping.observe(Metrics{{"val_loss", 1.0}, {"val_accuracy", 0.5}}, *model, 0);
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("val_accuracy, val_loss"), std::string::npos) << error.what();
  }
}

TEST(EarlyStopping, GoesOnFromItsStateWithTheUsersNewSettings) {
  torch::nn::Linear model(1, 1);
  EarlyStopping first({.patience = 3});
  for (const double metric : {3.0, 2.0, 2.5}) ASSERT_FALSE(first.observe(metric, *model, 0).stop);
  const auto text = first.state().dump();
  EarlyStopping same({.patience = 3}), stricter({.patience = 2});
  for (auto* next : {&same, &stricter}) next->restore(nlohmann::json::parse(text), first.best_weights());
  EXPECT_FALSE(same.observe(2.2, *model, 3).stop);
  EXPECT_TRUE(same.observe(2.2, *model, 4).stop);
  EXPECT_TRUE(stricter.observe(2.2, *model, 3).stop);
  EXPECT_EQ(*stricter.best(), 2.0);
}

TEST(EarlyStopping, AStateWithoutABestComesBackAsSuch) {
  EarlyStopping first({}), second({});
  second.restore(nlohmann::json::parse(first.state().dump()));
  EXPECT_FALSE(second.best());
}

TEST(EarlyStopping, RefusesSettingsThatMeanNothing) {
  EXPECT_THROW(EarlyStopping({.patience = -1}), std::invalid_argument);
  EXPECT_THROW(EarlyStopping({.min_delta = -1e-3}), std::invalid_argument);
  EXPECT_THROW(EarlyStopping({.min_delta = INFINITY}), std::invalid_argument);
  EXPECT_THROW(EarlyStopping({.baseline = kNan}), std::invalid_argument);
  EXPECT_THROW(EarlyStopping({.start_from_epoch = -1}), std::invalid_argument);
}

}  // namespace
}  // namespace athanor::train
