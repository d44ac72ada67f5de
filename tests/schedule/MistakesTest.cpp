// Each mistake is found where it can be known first, and its message says what, where and how to mend it.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "athanor/core/Config.h"
#include "athanor/schedule/FromConfig.h"
#include "athanor/schedule/RangeTest.h"

namespace athanor::schedule {
namespace {

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was thrown";
}

std::string spec_message(const std::string& toml) {
  return message_of([&] {
    const auto config = core::Config::from_text(toml, "x.toml");
    (void)spec_from_config(config);
    config.reject_unknown();
  });
}

TEST(Mistakes, InSettingsAreFoundAtConstruction) {
  EXPECT_EQ(message_of([] { cosine_annealing({.t_max = 0}); }), "schedule::cosine_annealing: t_max must be > 0, got 0");
  EXPECT_EQ(message_of([] { step({.step_size = -2}); }), "schedule::step: step_size must be > 0, got -2");
  EXPECT_THROW(step({.step_size = 2, .gamma = -0.1}), std::invalid_argument);
  EXPECT_THROW(exponential({.gamma = -1.0}), std::invalid_argument);
  EXPECT_THROW(exponential({.gamma = std::nan("")}), std::invalid_argument);
  EXPECT_THROW(multi_step({.milestones = {}}), std::invalid_argument);
  EXPECT_THROW(multi_step({.milestones = {3, -1}}), std::invalid_argument);
  EXPECT_THROW(polynomial({.total_iters = 0}), std::invalid_argument);
  EXPECT_THROW(linear({.start_factor = 0.0}), std::invalid_argument);
  EXPECT_THROW(one_cycle({.max_lr = 1.0}), std::invalid_argument);
  EXPECT_THROW(one_cycle({.total_steps = 10, .pct_start = 1.5}), std::invalid_argument);
  EXPECT_THROW(one_cycle({.total_steps = 10, .base_momentum = 0.9, .max_momentum = 0.8}), std::invalid_argument);
  EXPECT_THROW(cyclic({.base_lr = 1.0, .max_lr = 0.5}), std::invalid_argument);
  EXPECT_THROW(warmup_cosine({.warmup_steps = 10, .total_steps = 10}), std::invalid_argument);
  EXPECT_THROW(warmup_cosine({.total_steps = 10, .eta_min = -1.0}), std::invalid_argument);
  EXPECT_THROW(tanh_decay({.total_steps = 10, .lower = 3.0, .upper = -6.0}), std::invalid_argument);
  EXPECT_THROW(noise(fixed(), {.limit = 1.0}), std::invalid_argument);
  EXPECT_THROW(custom({}), std::invalid_argument);
  EXPECT_THROW(ReduceOnPlateau({.factor = 1.0}), std::invalid_argument);
  EXPECT_THROW(ReduceOnPlateau({.patience = -1}), std::invalid_argument);
}

TEST(Mistakes, InComposition) {
  EXPECT_EQ(message_of([] { sequential({}, {}); }), "schedule::sequential: needs at least one part, got none");
  EXPECT_EQ(message_of([] { chained({}); }), "schedule::chained: needs at least one part, got none");
  EXPECT_THROW(join({}), std::invalid_argument);
  EXPECT_THROW(sequential({fixed(), fixed()}, {}), std::invalid_argument);
  EXPECT_THROW(sequential({fixed(), fixed(), fixed()}, {10, 5}), std::invalid_argument);
  const auto too_long = message_of([] { sequential({one_cycle({.total_steps = 10}), fixed()}, {20}); });
  EXPECT_NE(too_long.find("part 'one_cycle' has 20 steps"), std::string::npos) << too_long;
  const auto never = message_of([] { sequential({multi_step({.milestones = {5, 50}}), fixed()}, {20}); });
  EXPECT_NE(never.find("milestone 50 (step 50) lies beyond"), std::string::npos) << never;
}

TEST(Mistakes, AMilestoneBeyondTheEndIsKnownWithTheRunsLength) {
  const Schedule rate = multi_step({.milestones = {30, 80}});
  EXPECT_NO_THROW(rate.check_length(81));
  EXPECT_THROW(rate.check_length(80), std::invalid_argument);
  EXPECT_THROW(one_cycle({.total_steps = 10}).check_length(11), std::invalid_argument);
  EXPECT_NO_THROW(one_cycle({.total_steps = 10}).check_length(10));
}

TEST(Mistakes, OneCyclePastItsTotal) {
  const Schedule rate = one_cycle({.total_steps = 10});
  EXPECT_NO_THROW((void)rate(10, 0.1)) << "the scheduler's step after the run's last one";
  EXPECT_EQ(message_of([&] { (void)rate(11, 0.1); }),
            "schedule::one_cycle: step 11 lies past the 10 steps it was made for; raise its total_steps");
}

TEST(Mistakes, AFloorAboveTheBaseRate) {
  const Schedule rate = sequential({linear_warmup({.steps = 5}), cosine_annealing({.t_max = 5, .eta_min = 0.01})}, {5});
  const auto message = message_of([&] { (void)rate(0, 0.001); });
  EXPECT_NE(message.find("floor (eta_min) 0.01 lies above the base rate 0.001"), std::string::npos) << message;
}

TEST(Mistakes, AFunctionThatGivesNoRate) {
  const Schedule rate = custom([](std::int64_t t, double) { return std::sqrt(3.0 - static_cast<double>(t)); });
  EXPECT_NO_THROW((void)rate(3, 0.1));
  EXPECT_EQ(message_of([&] { (void)rate(4, 0.1); }).find("schedule::custom: gives the rate "), 0U);
}

TEST(Mistakes, MetricsThatAreNone) {
  ReduceOnPlateau plateau({.patience = 0});
  double lr = plateau.observe(1.0, 0.1);
  EXPECT_THROW(lr = plateau.observe(std::nan(""), lr), std::invalid_argument);
  EXPECT_THROW(lr = plateau.observe(-HUGE_VAL, lr), std::invalid_argument);
  EXPECT_EQ(plateau.bad_observations(), 0) << "a refused metric leaves no trace";
  lr = plateau.observe(HUGE_VAL, lr);
  EXPECT_DOUBLE_EQ(lr, 0.01) << "an infinite loss is a bad one";
}

TEST(Mistakes, InTomlNameFileLineAndTheNearestName) {
  EXPECT_EQ(spec_message("kind = 'cosine_aneling'"),
            "x.toml:1: kind 'cosine_aneling' is not known (did you mean 'cosine_annealing'?)");
  EXPECT_EQ(spec_message("kind = 'step'"), "x.toml:1: kind = 'step' needs the key 'step_size'");
  EXPECT_EQ(spec_message("kind = 'step'\nstep_size = 0"),
            "x.toml:1: kind - schedule::step: step_size must be > 0, got 0");
  EXPECT_EQ(spec_message("kind = 'step'\nstep_size = 2\ngama = 0.5"),
            "x.toml:3: gama is not a known key (did you mean 'gamma'?)");
  EXPECT_NE(spec_message("kind = 'sequential'").find("needs at least one part"), std::string::npos);
  EXPECT_NE(spec_message("kind = 'chained'\n[[parts]]\nkind = 'reduce_on_plateau'").find("cannot be a part"),
            std::string::npos);
  EXPECT_NE(spec_message("kind = 'chained'\n[[parts]]\nfactor = 0.5").find("parts.0.kind is needed"),
            std::string::npos);
  std::string deep = "{kind = 'fixed'}";
  for (int i = 0; i < 60; ++i) deep = "{kind = 'chained', parts = [" + deep + "]}";
  EXPECT_NE(spec_message("kind = 'chained'\nparts = [" + deep + "]").find("schedules deep"), std::string::npos);
}

TEST(Mistakes, InARangeTest) {
  const RangeTestSubject flat{.step = [](double) { return 1.0; }};
  EXPECT_THROW(range_test(flat, {.lr_min = 0.0}), std::invalid_argument);
  EXPECT_THROW(range_test(flat, {.lr_min = 1.0, .lr_max = 0.5}), std::invalid_argument);
  EXPECT_THROW(range_test(flat, {.steps = 2}), std::invalid_argument);
  EXPECT_THROW(range_test({}), std::invalid_argument);
}

}  // namespace
}  // namespace athanor::schedule
