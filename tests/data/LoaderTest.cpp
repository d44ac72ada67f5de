#include "athanor/data/Loader.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>

namespace athanor::data {
namespace {

// n samples of `width` numbers, each saying its own number.
std::shared_ptr<TensorDataset> numbered(std::int64_t n, std::int64_t width) {
  return std::make_shared<TensorDataset>(torch::arange(n).to(at::kFloat).unsqueeze(1).expand({n, width}),
                                         torch::arange(n));
}

std::vector<std::int64_t> numbers(const Batch& batch) {
  const auto targets = batch.targets.contiguous();
  EXPECT_TRUE(torch::equal(batch.inputs.select(1, 0).to(at::kLong), targets)) << "inputs and targets belong together";
  return {targets.const_data_ptr<std::int64_t>(), targets.const_data_ptr<std::int64_t>() + targets.numel()};
}

std::vector<std::vector<std::int64_t>> rest_of_epoch(Loader& loader) {
  std::vector<std::vector<std::int64_t>> batches;
  while (auto batch = loader.next()) batches.push_back(numbers(*batch));
  return batches;
}

struct Case {
  std::int64_t width;  // 4: gathered in place; 4000: on the thread
  bool prefetch;
};

class LoaderTest : public testing::TestWithParam<Case> {
 protected:
  [[nodiscard]] Loader make(LoaderOptions options, std::int64_t n = 103) const {
    options.prefetch = GetParam().prefetch;
    return {numbered(n, GetParam().width), options};
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, LoaderTest, testing::Values(Case{4, true}, Case{4000, true}, Case{4000, false}));

TEST_P(LoaderTest, AnEpochGivesEachSampleOnceAndNeverTheSameOrder) {
  auto loader = make({.batch_size = 10, .seed = 3});
  std::set<std::vector<std::int64_t>> orders;
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    loader.start_epoch(epoch);
    std::vector<std::int64_t> all;
    for (const auto& batch : rest_of_epoch(loader)) all.insert(all.end(), batch.begin(), batch.end());
    EXPECT_EQ(std::set<std::int64_t>(all.begin(), all.end()).size(), 103U);
    EXPECT_EQ(all.size(), 103U);
    EXPECT_TRUE(orders.insert(all).second);
  }
}

TEST_P(LoaderTest, OrderIsAFunctionOfSeedAndEpoch) {
  auto first = make({.batch_size = 16, .seed = 9});
  auto second = make({.batch_size = 16, .seed = 9});
  first.start_epoch(0);
  static_cast<void>(rest_of_epoch(first));
  first.start_epoch(5);
  second.start_epoch(5);
  const auto batches = rest_of_epoch(first);
  EXPECT_EQ(batches, rest_of_epoch(second));
  auto other = make({.batch_size = 16, .seed = 10});
  other.start_epoch(5);
  EXPECT_NE(batches, rest_of_epoch(other));
}

TEST_P(LoaderTest, ResumesAtAnyBatch) {
  auto straight = make({.batch_size = 10, .seed = 1});
  straight.start_epoch(2);
  const auto batches = rest_of_epoch(straight);
  ASSERT_EQ(static_cast<std::int64_t>(batches.size()), straight.batches());
  for (std::int64_t at = 0; at <= straight.batches(); ++at) {
    auto resumed = make({.batch_size = 10, .seed = 1});
    resumed.start_epoch(2, at);
    EXPECT_EQ(resumed.position(), at);
    EXPECT_EQ(rest_of_epoch(resumed), std::vector(batches.begin() + at, batches.end()));
  }
}

TEST_P(LoaderTest, AnEpochCanBeLeftInTheMiddle) {
  auto loader = make({.batch_size = 10, .seed = 1});
  loader.start_epoch(0);
  const auto whole = rest_of_epoch(loader);
  for (int taken = 0; taken < 4; ++taken) {
    loader.start_epoch(1);
    for (int i = 0; i < taken; ++i) EXPECT_TRUE(loader.next());
    loader.start_epoch(0);
    EXPECT_EQ(rest_of_epoch(loader), whole);
  }
}

TEST_P(LoaderTest, WithoutShufflingInOrderAndDropLastDropsTheRest) {
  auto loader = make({.batch_size = 10, .shuffle = false, .drop_last = true});
  EXPECT_EQ(loader.batches(), 10);
  loader.start_epoch(0);
  const auto batches = rest_of_epoch(loader);
  ASSERT_EQ(batches.size(), 10U);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(batches[i / 10][i % 10], static_cast<std::int64_t>(i));
}

TEST_P(LoaderTest, TheLastBatchSaysHowManyItHolds) {
  auto loader = make({.batch_size = 10});
  loader.start_epoch(0, 10);
  const auto batch = loader.next();
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->items, 3);
  EXPECT_EQ(batch->inputs.size(0), 3);
  EXPECT_FALSE(loader.next());
  EXPECT_FALSE(loader.next());
}

TEST_P(LoaderTest, ABatchThatIsStillHeldIsNeverOverwritten) {
  auto loader = make({.batch_size = 10, .shuffle = false});
  loader.start_epoch(0);
  std::vector<Batch> held;
  std::vector<at::Tensor> views;
  while (auto batch = loader.next()) {
    if (loader.position() % 3 == 0) held.push_back(*batch);
    if (loader.position() % 3 == 1) views.push_back(batch->targets.slice(0, 1, 3));
  }
  for (std::size_t i = 0; i < held.size(); ++i) EXPECT_EQ(numbers(held[i])[0], static_cast<std::int64_t>(30 * i + 20));
  for (std::size_t i = 0; i < views.size(); ++i)
    EXPECT_EQ(views[i][0].item<std::int64_t>(), static_cast<std::int64_t>(30 * i + 1));
}

TEST_P(LoaderTest, TwoBatchesOfMemoryServeAWholeEpoch) {
  auto loader = make({.batch_size = 10});
  std::set<const void*> places;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    loader.start_epoch(epoch);
    while (auto batch = loader.next()) {
      places.insert(batch->inputs.const_data_ptr());
      batch->inputs.requires_grad_(true);  // the caller's own business
    }
  }
  EXPECT_LE(places.size(), 2U);
  loader.start_epoch(0);
  EXPECT_FALSE(loader.next()->inputs.requires_grad());
}

TEST(Loader, RefusesWhatCannotBe) {
  const auto data = numbered(20, 1);
  EXPECT_THROW(Loader(data, {.batch_size = 0}), std::invalid_argument);
  EXPECT_THROW(Loader(data, {.batch_size = 21}), std::invalid_argument);
  Loader loader(data, {.batch_size = 20});
  EXPECT_FALSE(loader.next()) << "no epoch has been started";
  EXPECT_THROW(loader.start_epoch(-1), std::invalid_argument);
  EXPECT_THROW(loader.start_epoch(0, 2), std::invalid_argument);
}

// Fails on one sample, until it is repaired.
class Failing : public TensorDataset {
 public:
  Failing() : TensorDataset(torch::zeros({10, 40'000}), torch::arange(10)) {}
  void gather(std::span<const std::int64_t> indices, const Batch& batch) const override {
    if (indices[0] == 4 && !repaired) {
      ++failures;
      throw std::runtime_error("sample 4");
    }
    TensorDataset::gather(indices, batch);
  }
  std::atomic<bool> repaired = false;
  mutable std::atomic<int> failures = 0;
};

TEST(Loader, WhatGatheringThrowsComesOutOfNextAndCanBeTriedAgain) {
  for (const bool prefetch : {true, false}) {
    const auto data = std::make_shared<Failing>();
    Loader loader(data, {.batch_size = 2, .shuffle = false, .prefetch = prefetch});
    loader.start_epoch(0);
    EXPECT_TRUE(loader.next());
    EXPECT_TRUE(loader.next());
    EXPECT_THROW(static_cast<void>(loader.next()), std::runtime_error);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(data->failures, 1) << "nothing is tried again unasked: whoever caught it may be mending the cause";
    data->repaired = true;
    const auto batch = loader.next();
    ASSERT_TRUE(batch);
    EXPECT_EQ(batch->targets[0].item<std::int64_t>(), 4) << "goes on with the batch that failed";
    loader.start_epoch(0);
    EXPECT_TRUE(loader.next());
  }
}

TEST(Split, PartsAreDisjointWholeAndAFunctionOfTheSeed) {
  const auto parts = split(1000, 0.25, 17);
  EXPECT_EQ(parts.validation.size(), 250U);
  std::set<std::int64_t> all(parts.train.begin(), parts.train.end());
  all.insert(parts.validation.begin(), parts.validation.end());
  EXPECT_EQ(all.size(), 1000U);
  EXPECT_EQ(split(1000, 0.25, 17).train, parts.train);
  EXPECT_NE(split(1000, 0.25, 18).train, parts.train);
  EXPECT_TRUE(split(10, 0, 1).validation.empty());
  EXPECT_THROW(split(10, 1.0, 1), std::invalid_argument);
}

}  // namespace
}  // namespace athanor::data
