#include "athanor/optim/Scheduler.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <nlohmann/json.hpp>
#include <set>

#include "athanor/core/Config.h"
#include "athanor/optim/Adam.h"
#include "athanor/optim/Adaptive.h"
#include "athanor/optim/Factory.h"
#include "athanor/optim/SGD.h"
#include "optim/Momentum.h"

namespace athanor::optim {
namespace {

namespace topt = torch::optim;

struct Bench {
  torch::Tensor first = torch::ones({3}, torch::requires_grad());
  torch::Tensor second = torch::ones({2}, torch::requires_grad());
  topt::SGD optimizer{{topt::OptimizerParamGroup({first}, std::make_unique<topt::SGDOptions>(0.1)),
                       topt::OptimizerParamGroup({second}, std::make_unique<topt::SGDOptions>(0.01))},
                      topt::SGDOptions(1.0)};

  void step_optimizer() {
    optimizer.zero_grad();
    (first.sum() + second.sum()).backward();
    optimizer.step();
  }
  double lr(std::size_t group) { return optimizer.param_groups()[group].options().get_lr(); }
};

TEST(Scheduler, EveryGroupKeepsItsOwnBaseRate) {
  Bench bench;
  Scheduler scheduler(bench.optimizer, schedule::step({.step_size = 2, .gamma = 0.5}));
  for (int t = 0; t < 7; ++t) {
    EXPECT_DOUBLE_EQ(bench.lr(0), 0.1 * std::pow(0.5, t / 2));
    EXPECT_DOUBLE_EQ(bench.lr(1), 0.01 * std::pow(0.5, t / 2));
    EXPECT_EQ(scheduler.step_count(), t);
    bench.step_optimizer();
    scheduler.step();
  }
}

TEST(Scheduler, TheRateOfAStepIsTheOneTheOptimizerUses) {
  Bench bench;
  Scheduler scheduler(bench.optimizer,
                      schedule::custom([](std::int64_t t, double base) { return base * double(t + 1); }));
  bench.step_optimizer();
  scheduler.step();
  bench.step_optimizer();
  EXPECT_FLOAT_EQ(bench.first[0].item<float>(), 1.0F - 0.1F - 0.2F);
}

TEST(Scheduler, ASkippedStepDoesNotCount) {
  Bench bench;
  Scheduler scheduler(bench.optimizer, schedule::exponential({.gamma = 0.5}));
  bench.step_optimizer();
  scheduler.step_if(true);
  scheduler.step_if(false);
  scheduler.step_if(false);
  EXPECT_EQ(scheduler.step_count(), 1);
  EXPECT_DOUBLE_EQ(scheduler.lr(), 0.05);
}

TEST(Scheduler, RestoredInTheMiddleItGivesTheSameTail) {
  const auto make = [](Bench& bench) {
    return Scheduler(
        bench.optimizer,
        schedule::sequential({schedule::linear_warmup({.steps = 5}), schedule::one_cycle({.total_steps = 40})}, {5}));
  };
  Bench whole;
  for (auto& group : whole.optimizer.param_groups()) static_cast<topt::SGDOptions&>(group.options()).momentum(0.9);
  Scheduler straight = make(whole);
  nlohmann::json saved;
  std::vector<std::vector<double>> tail;
  for (int t = 0; t < 45; ++t) {
    if (t == 17) saved = nlohmann::json::parse(straight.state().dump());
    if (t >= 17) tail.push_back(straight.lrs());
    straight.step();
  }
  Bench fresh;
  for (auto& group : fresh.optimizer.param_groups()) group.options().set_lr(0.5);
  Scheduler resumed = make(fresh);
  resumed.restore(saved);
  for (const auto& rates : tail) {
    EXPECT_EQ(resumed.lrs(), rates);
    resumed.step();
  }
}

TEST(Scheduler, PlateauFollowsItsMetricAndResumes) {
  schedule::ReduceOnPlateauOptions options{.factor = 0.5, .patience = 2, .verbose = true, .min_lrs = {0.04, 0.0}};
  std::vector<std::string> said;
  Bench bench;
  Scheduler scheduler(bench.optimizer, options, {.observer = [&](const std::string& line) { said.push_back(line); }});
  EXPECT_TRUE(scheduler.is_plateau());
  for (int i = 0; i < 4; ++i) scheduler.step(1.0);
  EXPECT_DOUBLE_EQ(bench.lr(0), 0.05);
  EXPECT_DOUBLE_EQ(bench.lr(1), 0.005);
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(said[0], "reduce_on_plateau: observation 4: the learning rate of group 0 goes from 0.1 to 0.05");
  scheduler.step(1.0);
  Bench fresh;
  Scheduler resumed(fresh.optimizer, options);
  resumed.restore(nlohmann::json::parse(scheduler.state().dump()));
  for (int i = 0; i < 20; ++i) {
    const double metric = 1.0 - 0.01 * i * (i % 3);
    scheduler.step(metric);
    resumed.step(metric);
    EXPECT_EQ(resumed.lrs(), scheduler.lrs());
  }
  EXPECT_GE(bench.lr(0), 0.04);
  EXPECT_THROW(scheduler.step(), std::invalid_argument);
  const auto before = scheduler.state();
  EXPECT_THROW(scheduler.step(std::nan("")), std::invalid_argument);
  EXPECT_EQ(scheduler.state(), before) << "a refused metric changes nothing";
}

TEST(Scheduler, SeveralSchedulersShareAnOptimizer) {
  Bench bench;
  Scheduler first(bench.optimizer, schedule::exponential({.gamma = 0.5}), {.groups = {0}});
  Scheduler second(bench.optimizer, schedule::fixed(), {.groups = {1}});
  first.step();
  second.step();
  EXPECT_DOUBLE_EQ(bench.lr(0), 0.05);
  EXPECT_DOUBLE_EQ(bench.lr(1), 0.01);
  Scheduler both(bench.optimizer, {schedule::fixed(), schedule::exponential({.gamma = 0.1})});
  both.step();
  EXPECT_DOUBLE_EQ(both.lr(0), 0.05);
  EXPECT_DOUBLE_EQ(both.lr(1), 0.001);
}

TEST(Scheduler, AGroupAddedLaterStartsFromItsOwnRate) {
  Bench bench;
  Scheduler scheduler(bench.optimizer, schedule::exponential({.gamma = 0.5}));
  scheduler.step();
  bench.optimizer.add_param_group(
      topt::OptimizerParamGroup({torch::ones({1}, torch::requires_grad())}, std::make_unique<topt::SGDOptions>(8.0)));
  scheduler.adopt_groups();
  EXPECT_DOUBLE_EQ(bench.lr(2), 4.0) << "step 1 of its own schedule";
  scheduler.step();
  EXPECT_DOUBLE_EQ(bench.lr(2), 2.0);
  EXPECT_DOUBLE_EQ(bench.lr(0), 0.025);
}

TEST(Scheduler, MovesMomentumOrBeta1) {
  const auto cycle = schedule::one_cycle({.max_lr = 1.0, .total_steps = 10});
  const auto weight = torch::ones({1}, torch::requires_grad());
  topt::SGD sgd({weight}, topt::SGDOptions(0.1).momentum(0.9));
  Scheduler on_sgd(sgd, cycle);
  EXPECT_DOUBLE_EQ(static_cast<topt::SGDOptions&>(sgd.param_groups()[0].options()).momentum(), 0.95);
  topt::AdamW adamw({weight}, topt::AdamWOptions(0.1));
  Scheduler on_adamw(adamw, cycle);
  on_adamw.step();
  on_adamw.step();
  const auto betas = static_cast<topt::AdamWOptions&>(adamw.param_groups()[0].options()).betas();
  EXPECT_DOUBLE_EQ(std::get<0>(betas), 0.85) << "at the peak";
  EXPECT_DOUBLE_EQ(std::get<1>(betas), 0.999);
  AdamW ours({weight}, {.lr = 0.1});
  Scheduler on_ours(ours, cycle);
  EXPECT_DOUBLE_EQ(ours.options().betas[0], 0.95);
  EXPECT_DOUBLE_EQ(ours.options().betas[1], 0.999);
  SGD our_sgd({weight}, {.lr = 0.1, .momentum = 0.9});
  Scheduler on_our_sgd(our_sgd, cycle);
  EXPECT_DOUBLE_EQ(our_sgd.options().momentum, 0.95);
  EXPECT_NEAR(our_sgd.options().lr, 1.0 / 25.0, 1e-12 / 25.0);  // the parity bound, relative
  topt::Adagrad adagrad({weight}, topt::AdagradOptions(0.1));
  EXPECT_THROW(Scheduler(adagrad, cycle), std::invalid_argument);
  EXPECT_NO_THROW(Scheduler(adagrad, schedule::one_cycle({.total_steps = 10, .cycle_momentum = false})));
}

// Every kind of ours that has a momentum, or betas, has it moved; the others refuse a schedule that would.
TEST(Scheduler, MovesMomentumOfEveryKindThatHasOne) {
  const auto cycle =
      schedule::cyclic({.base_lr = 1e-4, .max_lr = 1e-2, .step_size_up = 4, .base_momentum = 0.7, .max_momentum = 0.9});
  const std::set<std::string> without{"adagrad", "adadelta", "adafactor", "asgd", "rprop", "lbfgs"};
  for (const auto& kind : optimizer_kinds()) {
    torch::nn::Linear net(4, 4);
    const auto optimizer = make_optimizer(core::Config::from_text("kind = '" + kind + "'", "test.toml"), *net);
    if (without.contains(kind)) {
      EXPECT_THROW(Scheduler(*optimizer, cycle), std::invalid_argument) << kind;
      continue;
    }
    Scheduler scheduler(*optimizer, cycle);
    for (int t = 0; t < 10; ++t) {
      for (auto& group : optimizer->param_groups())
        EXPECT_DOUBLE_EQ(momentum_of(group.options()).value_or(-1), *cycle(t, 1e-3).momentum) << kind << " " << t;
      scheduler.step();
    }
  }
}

// Steps of one parameter under a schedule that moves rate and momentum.
template <class Optimizer>
at::Tensor after_a_cycle(Optimizer make) {
  at::Tensor weight = torch::arange(1, 8, torch::kDouble).requires_grad_();
  auto optimizer = make(weight);
  Scheduler scheduler(optimizer, schedule::one_cycle({.max_lr = 0.1, .total_steps = 30}));
  for (int t = 0; t < 30; ++t) {
    optimizer.zero_grad();
    (weight.cos() * torch::arange(7, torch::kDouble)).sum().backward();
    optimizer.step();
    scheduler.step();
  }
  return weight.detach();
}

TEST(Scheduler, MomentumThatMovesEntersOurStepsAsLibTorchs) {
  const auto same = [](const at::Tensor& ours, const at::Tensor& theirs) {
    EXPECT_TRUE(torch::allclose(ours, theirs, /*rtol=*/1e-12, /*atol=*/0)) << (ours - theirs).abs().max();
  };
  same(after_a_cycle([](auto& w) { return SGD({w}, {.lr = 0.1, .momentum = 0.9}); }),
       after_a_cycle([](auto& w) { return topt::SGD({w}, topt::SGDOptions(0.1).momentum(0.9)); }));
  same(after_a_cycle([](auto& w) { return SGD({w}, {.lr = 0.1, .momentum = 0.9, .nesterov = true}); }),
       after_a_cycle([](auto& w) { return topt::SGD({w}, topt::SGDOptions(0.1).momentum(0.9).nesterov(true)); }));
  same(after_a_cycle([](auto& w) { return Adam({w}, {.lr = 0.1}); }),
       after_a_cycle([](auto& w) { return topt::Adam({w}, topt::AdamOptions(0.1)); }));
  same(after_a_cycle([](auto& w) { return AdamW({w}, {.lr = 0.1}); }),
       after_a_cycle([](auto& w) { return topt::AdamW({w}, topt::AdamWOptions(0.1)); }));
  same(after_a_cycle([](auto& w) { return RMSprop({w}, {.lr = 0.1, .momentum = 0.9}); }),
       after_a_cycle([](auto& w) { return topt::RMSprop({w}, topt::RMSpropOptions(0.1).momentum(0.9)); }));
}

// A row of the table in docs/schedules.md: LibTorch's C++ keeps metrics and thresholds as float.
TEST(Scheduler, KnownDefectLibTorchsPlateauRoundsToFloat) {
  const auto weight = torch::ones({1}, torch::requires_grad());
  topt::SGD theirs({weight}, topt::SGDOptions(0.1)), ours({weight}, topt::SGDOptions(0.1));
  topt::ReduceLROnPlateauScheduler rounding(theirs, topt::ReduceLROnPlateauScheduler::min, 0.5F, /*patience=*/0,
                                            /*threshold=*/0.0, topt::ReduceLROnPlateauScheduler::abs);
  Scheduler scheduler(
      ours, schedule::ReduceOnPlateauOptions{
                .factor = 0.5, .patience = 0, .threshold = 0.0, .threshold_mode = schedule::ThresholdMode::abs});
  for (const double metric : {1.0, 1.0 - 1e-9}) {
    rounding.step(static_cast<float>(metric));
    scheduler.step(metric);
  }
  EXPECT_DOUBLE_EQ(theirs.param_groups()[0].options().get_lr(), 0.05) << "no progress seen";
  EXPECT_DOUBLE_EQ(scheduler.lr(), 0.1);
  scheduler.step(1.0);
  EXPECT_DOUBLE_EQ(scheduler.lr(), 0.05);
}

TEST(Scheduler, SaysWhenItIsSteppedBeforeTheOptimizer) {
  std::vector<std::string> said;
  const auto listen = [&](const std::string& line) { said.push_back(line); };
  Bench wrong;
  Scheduler early(wrong.optimizer, schedule::fixed(), {.observer = listen});
  early.step();
  ASSERT_EQ(said.size(), 1U);
  EXPECT_NE(said[0].find("before the optimizer's first step"), std::string::npos);
  early.step();
  EXPECT_EQ(said.size(), 1U) << "once";
  Bench right;
  Scheduler good(right.optimizer, schedule::fixed(), {.observer = listen});
  right.step_optimizer();
  good.step();
  EXPECT_EQ(said.size(), 1U);
}

TEST(Scheduler, RefusesWhatCannotBeAndChangesNothing) {
  Bench bench;
  EXPECT_THROW(Scheduler(bench.optimizer, schedule::cosine_annealing({.t_max = 10, .eta_min = 0.05})),
               std::invalid_argument);
  EXPECT_DOUBLE_EQ(bench.lr(0), 0.1) << "the second group's base rate lies below the floor; the first is left alone";
  EXPECT_THROW(Scheduler(bench.optimizer, schedule::fixed(), {.groups = {2}}), std::invalid_argument);
  EXPECT_THROW(Scheduler(bench.optimizer, schedule::fixed(), {.groups = {0, 0}}), std::invalid_argument);
  EXPECT_THROW(Scheduler(bench.optimizer, std::vector<schedule::Schedule>{schedule::fixed()}), std::invalid_argument);
  Scheduler scheduler(bench.optimizer, schedule::one_cycle({.total_steps = 2, .cycle_momentum = false}));
  scheduler.step();
  scheduler.step();
  const auto rates = scheduler.lrs();
  EXPECT_THROW(scheduler.step(), std::invalid_argument) << "past its total";
  EXPECT_EQ(scheduler.lrs(), rates);
  EXPECT_EQ(scheduler.step_count(), 2);
  EXPECT_THROW(scheduler.step(1.0), std::invalid_argument) << "not a plateau";
}

TEST(Scheduler, RefusesAStateThatIsNotWhole) {
  Bench bench;
  Scheduler scheduler(bench.optimizer, schedule::fixed());
  const nlohmann::json good = scheduler.state();
  const auto refuses = [&](auto spoil) {
    nlohmann::json bad = good;
    spoil(bad);
    EXPECT_THROW(scheduler.restore(bad), std::invalid_argument) << bad.dump();
  };
  refuses([](auto& s) { s = nullptr; });
  refuses([](auto& s) { s = nlohmann::json::array(); });
  refuses([](auto& s) { s["kind"] = "reduce_on_plateau"; });
  refuses([](auto& s) { s["step"] = -1; });
  refuses([](auto& s) { s["step"] = "1"; });
  refuses([](auto& s) { s["base_lrs"] = {1.0, -2.0}; });
  refuses([](auto& s) { s["base_lrs"] = {1.0, 2.0, 3.0}; });
  refuses([](auto& s) { s.erase("lrs"); });
  EXPECT_EQ(scheduler.state(), good);
}

}  // namespace
}  // namespace athanor::optim
