// What holds for every schedule, whatever its kind: the same suite over all of them, made from their TOML.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>

#include "athanor/core/Config.h"
#include "athanor/schedule/FromConfig.h"

namespace athanor::schedule {
namespace {

// One a kind, its shortest spelling.
const std::map<std::string, std::string>& specs() {
  static const std::map<std::string, std::string> all{
      {"fixed", ""},
      {"step", "step_size = 7"},
      {"multi_step", "milestones = [80, 30, 30]"},
      {"constant", ""},
      {"linear", ""},
      {"exponential", "gamma = 0.99"},
      {"polynomial", "total_iters = 90\npower = 2.0"},
      {"cosine_annealing", "t_max = 60\neta_min = 1e-6"},
      {"cosine_annealing_warm_restarts", "t_0 = 5\nt_mult = 3"},
      {"swa", "swa_lr = 0.05"},
      {"cyclic", "max_lr = 1.0\nstep_size_up = 9"},
      {"one_cycle", "total_steps = 300"},
      {"linear_warmup", "steps = 40"},
      {"warmup_cosine", "warmup_steps = 10\ntotal_steps = 200\neta_min = 1e-5"},
      {"warmup_linear", "warmup_steps = 10\ntotal_steps = 200"},
      {"warmup_polynomial", "warmup_steps = 10\ntotal_steps = 200\npower = 2.0"},
      {"inverse_sqrt", "warmup_steps = 25"},
      {"warmup_stable_decay", "warmup_steps = 10\nstable_steps = 100\ndecay_steps = 50\ndecay = 'sqrt'"},
      {"cosine_hard_restarts", "warmup_steps = 10\ntotal_steps = 200\ncycles = 4"},
      {"tanh_decay", "total_steps = 200"},
      {"sequential",
       "milestones = [10]\nparts = [{kind = 'linear_warmup', steps = 10}, {kind = 'step', step_size = 3}]"},
      {"join", "parts = [{kind = 'linear_warmup', steps = 10, length = 10}, {kind = 'exponential', gamma = 0.9}]"},
      {"chained", "parts = [{kind = 'constant'}, {kind = 'exponential', gamma = 0.9}]"},
      {"noise", "seed = 3\n[of]\nkind = 'warmup_cosine'\ntotal_steps = 200"},
  };
  return all;
}

Schedule made(const std::string& kind) {
  const auto config = core::Config::from_text("kind = '" + kind + "'\n" + specs().at(kind), kind);
  const Schedule schedule = from_config(config);
  config.reject_unknown();
  return schedule;
}

class EverySchedule : public testing::TestWithParam<std::string> {};

TEST_P(EverySchedule, GivesTheSameWhateverWasAskedBefore) {
  const Schedule schedule = made(GetParam());
  std::vector<double> forward;
  for (std::int64_t t = 0; t < 300; ++t) forward.push_back(schedule(t, 0.1).lr);
  std::mt19937 random(1);
  std::vector<std::int64_t> order(300);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
  std::shuffle(order.begin(), order.end(), random);
  const Schedule copy = schedule;
  for (const auto t : order) {
    EXPECT_EQ(schedule(t, 0.1).lr, forward[static_cast<std::size_t>(t)]) << t;
    EXPECT_EQ(copy(t, 0.1).lr, forward[static_cast<std::size_t>(t)]) << t;
  }
}

TEST_P(EverySchedule, GivesUsableRatesAndRefusesTheRest) {
  const Schedule schedule = made(GetParam());
  EXPECT_EQ(schedule.name(), GetParam());
  EXPECT_GE(schedule.horizon(), 1);
  for (std::int64_t t = 0; t < 300; ++t) {
    const Point point = schedule(t, 0.1);
    EXPECT_TRUE(std::isfinite(point.lr) && point.lr >= 0.0) << t;
    EXPECT_EQ(point.momentum.has_value(), schedule.moves_momentum()) << t;
  }
  for (const double base : {-0.1, std::nan(""), HUGE_VAL}) EXPECT_THROW((void)schedule(0, base), std::invalid_argument);
  EXPECT_THROW((void)schedule(-1, 0.1), std::invalid_argument);
}

TEST_P(EverySchedule, CanBeAPartOfASequenceAChainAndNoise) {
  const Schedule part = made(GetParam());
  const Schedule sequence = sequential({linear_warmup({.steps = 5}), part}, {5});
  const Schedule noisy = noise(part, {.amount = 0.01});
  const Schedule chain = chained({part, fixed()});
  for (std::int64_t t = 0; t < 200; ++t) {
    EXPECT_EQ(sequence(t + 5, 0.1).lr, part(t, 0.1).lr) << t;
    EXPECT_NEAR(noisy(t, 0.1).lr, part(t, 0.1).lr, 0.1 * part(t, 0.1).lr) << t;
    EXPECT_NEAR(chain(t, 0.1).lr, part(t, 0.1).lr, 1e-16) << t;
  }
}

INSTANTIATE_TEST_SUITE_P(All, EverySchedule, testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& [name, spec] : specs()) names.push_back(name);
                           return names;
                         }()),
                         [](const auto& made_of) { return made_of.param; });

TEST(Schedules, EveryKindIsUnderTest) {
  for (const auto& kind : kinds())
    if (kind != "reduce_on_plateau") {
      EXPECT_TRUE(specs().contains(kind)) << kind;
    }
}

TEST(Schedules, WarmRestartsComeExactlyWhereTheSumSays) {
  for (const std::int64_t t_0 : {1, 2, 7, 10, 50})
    for (const std::int64_t t_mult : {2, 3, 5}) {
      const Schedule rate = cosine_annealing_warm_restarts({.t_0 = t_0, .t_mult = t_mult});
      std::int64_t power = 1;  // T_0 * (T_mult^k - 1) / (T_mult - 1)
      for (int k = 0; k < 18; ++k, power *= t_mult) {
        const auto restart = t_0 * (power - 1) / (t_mult - 1);
        EXPECT_EQ(rate(restart, 1.0).lr, 1.0) << t_0 << " " << t_mult << " " << restart;
        if (k > 0 && t_0 > 1) {
          EXPECT_LT(rate(restart - 1, 1.0).lr, 1.0);
        }
      }
    }
}

TEST(Schedules, HardRestartsComeOnTheirStep) {
  const Schedule rate = cosine_hard_restarts({.warmup_steps = 3, .total_steps = 3 + 4 * 25, .cycles = 4});
  for (const std::int64_t restart : {3, 28, 53, 78}) EXPECT_EQ(rate(restart, 1.0).lr, 1.0) << restart;
  EXPECT_EQ(rate(103, 1.0).lr, 0.0);
}

TEST(Schedules, AWarmUpMeetsItsSuccessorWithoutAJump) {
  constexpr std::int64_t kSteps = 50;
  const double step = 1.0 / kSteps;
  for (const auto& rate : {sequential({linear_warmup({.steps = kSteps}), cosine_annealing({.t_max = 500})}, {kSteps}),
                           warmup_cosine({.warmup_steps = kSteps, .total_steps = 550}),
                           warmup_linear({.warmup_steps = kSteps, .total_steps = 550}),
                           warmup_polynomial({.warmup_steps = kSteps, .total_steps = 550, .power = 0.5}),
                           inverse_sqrt({.warmup_steps = kSteps}),
                           warmup_stable_decay({.warmup_steps = kSteps, .stable_steps = 100, .decay_steps = 400}),
                           cosine_hard_restarts({.warmup_steps = kSteps, .total_steps = 550, .cycles = 1})})
    for (std::int64_t t = 1; t < 2 * kSteps; ++t)
      EXPECT_LE(std::abs(rate(t, 1.0).lr - rate(t - 1, 1.0).lr), step + 1e-12) << rate.name() << " " << t;
}

TEST(Schedules, NoiseIsAFunctionOfSeedAndStep) {
  const auto noisy = [](std::uint64_t seed) {
    return noise(fixed(), {.amount = 0.2, .seed = seed, .begin = 10, .end = 5000});
  };
  double sum = 0.0;
  double squares = 0.0;
  for (std::int64_t t = 10; t < 5000; ++t) {
    const double draw = noisy(1)(t, 1.0).lr - 1.0;
    EXPECT_EQ(noisy(1)(t, 1.0).lr, 1.0 + draw);
    EXPECT_LE(std::abs(draw), 0.67);
    sum += draw;
    squares += draw * draw;
  }
  EXPECT_NEAR(sum / 4990, 0.0, 0.015);
  EXPECT_NEAR(std::sqrt(squares / 4990), 0.2, 0.01);
  EXPECT_NE(noisy(1)(20, 1.0).lr, noisy(2)(20, 1.0).lr);
  EXPECT_EQ(noisy(1)(9, 1.0).lr, 1.0);
  EXPECT_EQ(noisy(1)(5000, 1.0).lr, 1.0);
}

TEST(Schedules, MultiplicativeGoesBackToTheSameBits) {
  const Schedule rate = multiplicative([](std::int64_t t) { return 1.0 - 0.01 / static_cast<double>(t); });
  const double at_50 = rate(50, 0.3).lr;
  (void)rate(400, 0.3);
  EXPECT_EQ(rate(50, 0.3).lr, at_50);
}

}  // namespace
}  // namespace athanor::schedule
