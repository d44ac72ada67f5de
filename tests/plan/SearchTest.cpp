#include "athanor/plan/Search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "athanor/plan/Text.h"

namespace athanor::plan {
namespace {

Space small_space() {
  return {.micro_batches = divisors(16),
          .effective_batch = 16,
          .checkpointing = checkpointing_of(6),
          .offload = {"off", "activations"},
          .optimizer_in_backward = {false, true},
          .precisions = {"bf16", "fp32"},
          .chunked_loss = {false, true},
          .optimizer_states = {"same", "8bit"}};
}

/// A made-up network whose lists keep their promise; everything else about it is drawn at random.
class Network {
 public:
  explicit Network(unsigned seed) : random_(seed) {
    for (double* value : {&parameters_, &activations_, &logits_, &state_, &launch_, &recompute_, &transfer_,
                          &slow_loss_, &slow_states_, &in_backward_})
      *value = std::uniform_real_distribution(0.5, 1.5)(random_);
  }
  [[nodiscard]] Cost cost(const Settings& s) const {
    double share = 1;
    if (s.checkpointing == "all") share = 0.1;
    if (s.checkpointing.starts_with("first:")) share = 1 - 0.13 * std::stod(s.checkpointing.substr(6));
    const double low = s.precision == "bf16" ? 0.6 : 1, micro = static_cast<double>(s.micro_batch);
    const double recomputed = 1 - share;
    if (s.offload != "off") share *= 0.4;
    const double memory = parameters_ * (s.optimizer_in_backward ? 1 : 2) +
                          state_ * (s.optimizer_states == "8bit" ? 0.5 : 2) + activations_ * low * micro * share +
                          logits_ * micro * (s.chunked_loss ? 0.1 : 1);
    const double seconds = low * (1 + recompute_ * recomputed) + launch_ * 0.01 * static_cast<double>(s.accumulate) +
                           (s.offload != "off" ? 0.3 * transfer_ : 0) +
                           (s.chunked_loss ? 0.1 * (slow_loss_ - 0.9) : 0) +
                           (s.optimizer_states == "8bit" ? 0.1 * (slow_states_ - 0.9) : 0) +
                           (s.optimizer_in_backward ? 0.05 * in_backward_ : 0);
    const auto bytes = static_cast<std::int64_t>(memory * 1e9);
    return {Bytes{bytes}, Bytes{bytes + 500'000'000}, seconds};
  }

 private:
  std::mt19937 random_;
  double parameters_, activations_, logits_, state_, launch_, recompute_, transfer_, slow_loss_, slow_states_,
      in_backward_;
};

double brute_force(const Space& space, const Network& network, Bytes budget) {
  double best = INFINITY;
  for (const auto& settings : space.all())
    if (const auto cost = network.cost(settings); cost.process <= budget) best = std::min(best, cost.seconds_per_step);
  return best;
}

TEST(Search, AgreesWithBruteForceAndRehearsesAFraction) {
  const auto space = small_space();
  for (unsigned seed = 0; seed < 40; ++seed) {
    const Network network(seed);
    for (double gib = 1; gib < 40; gib *= 1.3) {
      const Bytes budget{static_cast<std::int64_t>(gib * 1e9)};
      std::int64_t calls = 0;
      const auto plan = search(space, [&](const Settings& s) { return ++calls, network.cost(s); }, {.process = budget});
      EXPECT_EQ(calls, plan.searched());
      EXPECT_LT(calls, plan.combinations / 2);
      const double expected = brute_force(space, network, budget);
      ASSERT_EQ(plan.chosen.has_value(), std::isfinite(expected)) << seed << " " << gib;
      if (plan.chosen) {
        EXPECT_EQ(plan.chosen->cost.seconds_per_step, expected) << seed << " " << gib;
        EXPECT_LE(plan.chosen->cost.process, budget);
      }
    }
  }
}

TEST(Search, ALargerBudgetIsNeverSlower) {
  const Network network(3);
  double before = INFINITY;
  for (double gib = 2; gib < 60; gib *= 1.1) {
    const auto plan = search(small_space(), [&](const Settings& s) { return network.cost(s); },
                             {.process = Bytes{static_cast<std::int64_t>(gib * 1e9)}});
    if (!plan.chosen) continue;
    EXPECT_LE(plan.chosen->cost.seconds_per_step, before);
    before = plan.chosen->cost.seconds_per_step;
  }
  EXPECT_TRUE(std::isfinite(before));
}

TEST(Search, NothingIsRehearsedTwiceAndWhatIsFixedStays) {
  auto space = small_space();
  space.precisions = {"fp32"};
  space.chunked_loss = {true};
  const Network network(9);
  std::vector<Settings> seen;
  const auto plan = search(space,
                           [&](const Settings& s) {
                             EXPECT_EQ(std::ranges::count(seen, s), 0);
                             EXPECT_EQ(s.precision, "fp32");
                             EXPECT_TRUE(s.chunked_loss);
                             EXPECT_EQ(s.micro_batch * s.accumulate, 16);
                             EXPECT_FALSE(s.optimizer_in_backward && s.accumulate > 1);
                             seen.push_back(s);
                             return network.cost(s);
                           },
                           {.process = Bytes{9'000'000'000}});
  ASSERT_TRUE(plan.chosen);
}

TEST(Search, OrdersWhatFitsByTimeAndTheRestByHowFarItMisses) {
  const Network network(4);
  const auto plan =
      search(small_space(), [&](const Settings& s) { return network.cost(s); }, {.process = Bytes{8'000'000'000}});
  ASSERT_TRUE(plan.chosen && plan.nearest_miss() != nullptr);
  for (std::size_t i = 1; i < plan.candidates.size(); ++i) {
    const auto &a = plan.candidates[i - 1], &b = plan.candidates[i];
    EXPECT_GE(a.fits, b.fits);
    const bool in_order =
        a.fits ? !b.fits || a.cost.seconds_per_step <= b.cost.seconds_per_step : a.cost.process <= b.cost.process;
    EXPECT_TRUE(in_order) << i;
  }
}

TEST(Search, OfEquallyFastPlansTheOneWithFewerChanges) {
  const Space space{.chunked_loss = {true, false}, .optimizer_states = {"8bit", "same"}};
  const auto plan = search(space, [](const Settings&) { return Cost{Bytes{1}, Bytes{1}, 1.0}; }, {.process = Bytes{2}});
  ASSERT_TRUE(plan.chosen);
  EXPECT_EQ(plan.chosen->settings, Settings{});
}

TEST(Search, AHopelessBudgetGivesTheLeanest) {
  const Network network(5);
  const auto space = small_space();
  const auto plan = search(space, [&](const Settings& s) { return network.cost(s); }, {.process = Bytes{1}});
  EXPECT_FALSE(plan.chosen);
  Bytes leanest{INT64_MAX};
  for (const auto& settings : space.all()) leanest = std::min(leanest, network.cost(settings).process);
  EXPECT_EQ(plan.nearest_miss()->cost.process, leanest);
}

TEST(Search, StopsWhenToldTo) {
  const Network network(5);
  const auto plan =
      search(small_space(), [&](const Settings& s) { return network.cost(s); },
             {.process = Bytes{6'000'000'000}, .progress = [](std::int64_t rehearsed) { return rehearsed < 7; }});
  EXPECT_EQ(plan.searched(), 7);
  EXPECT_FALSE(plan.complete);
}

TEST(Space, MistakesAreNamed) {
  Space space{.micro_batches = {3}, .effective_batch = 16};
  EXPECT_THROW(space.check(), std::invalid_argument);
  space = {.precisions = {}};
  EXPECT_THROW(space.check(), std::invalid_argument);
  space = {.micro_batches = {1}, .effective_batch = 2, .optimizer_in_backward = {true}};
  EXPECT_THROW(search(space, [](const Settings&) { return Cost{}; }, {}), std::invalid_argument);
}

TEST(Space, DivisorsAndPolicies) {
  EXPECT_EQ(divisors(12), (std::vector<std::int64_t>{12, 6, 4, 3, 2, 1}));
  EXPECT_EQ(checkpointing_of(0), (std::vector<std::string>{"off"}));
  EXPECT_EQ(checkpointing_of(1), (std::vector<std::string>{"off", "all"}));
  EXPECT_EQ(checkpointing_of(3), (std::vector<std::string>{"off", "first:1", "first:2", "all"}));
  const auto many = checkpointing_of(96, 8);
  EXPECT_EQ(many.size(), 9);
  EXPECT_EQ(std::set(many.begin(), many.end()).size(), many.size());
  EXPECT_EQ(many[7], "first:95");
}

TEST(Settings, SaysWhatChangedAndAtWhatPrice) {
  const Settings from{.micro_batch = 32};
  const Settings to{.micro_batch = 8, .accumulate = 4, .precision = "bf16", .checkpointing = "first:3"};
  EXPECT_TRUE(to.changes(to).empty());
  const auto changes = to.changes(from);
  EXPECT_EQ(changes, (std::vector<std::string>{"data.batch_size=8", "train.accumulate=4", "precision.compute=\"bf16\"",
                                               "memory.checkpointing=\"first:3\""}));
  EXPECT_EQ(prices(to, from).size(), changes.size());
  EXPECT_EQ(to.text(), "8 × 4, bf16, checkpointing first:3");
}

TEST(Text, OneSentenceSaysWhatMoreMemoryWouldBuy) {
  const auto candidate = [](std::int64_t micro, std::int64_t mib, double seconds, bool fits) {
    return Candidate{{.micro_batch = micro}, {Bytes{mib << 20}, Bytes{mib << 20}, seconds}, fits};
  };
  Plan plan;
  plan.budget = Bytes{100 << 20};
  plan.candidates = {candidate(1, 90, 4, true), candidate(2, 110, 3, false), candidate(4, 120, 2, false),
                     candidate(3, 130, 5, false)};
  plan.chosen = plan.candidates.front();
  EXPECT_NE(
      text(plan, {}, {}).find("the next faster one, 2 × 1, fp32, takes 3.00 s a step and 110 MiB, 10.0 MiB too much"),
      std::string::npos)
      << text(plan, {}, {});
  plan.chosen->cost.seconds_per_step = 1;
  EXPECT_NE(text(plan, {}, {}).find("nothing is faster"), std::string::npos);
}

}  // namespace
}  // namespace athanor::plan
