// Whole steps on the phantom GPU: peaks that follow from arithmetic, and that nothing real is touched.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "athanor/rehearse/Rehearse.h"

namespace athanor::rehearse {
namespace {

torch::nn::Sequential small_network() {
  using namespace torch::nn;
  return Sequential(Conv2d(Conv2dOptions(3, 64, 3).padding(1)), BatchNorm2d(64), ReLU(), AdaptiveAvgPool2d(1),
                    Flatten(), Linear(64, 10));
}

Forecast rehearse_small(int steps = 3) {
  return rehearse({.gpu = "A100 80GB", .steps = steps}, [](torch::Device device, Stage& stage) {
    auto network = small_network();
    stage.watch(*network);
    network->to(device);
    torch::optim::AdamW optimizer(network->parameters(), torch::optim::AdamWOptions(1e-3));
    while (stage.next_step()) {
      const auto x = torch::randn({32, 3, 64, 64}).to(device);
      const auto y = torch::randint(10, {32}, torch::kLong).to(device);
      optimizer.zero_grad();
      auto loss = torch::nn::functional::cross_entropy(network->forward(x), y);
      loss.backward();
      optimizer.step();
    }
  });
}

TEST(Rehearse, ParametersAndOptimizerStateHaveTheirSizes) {
  const auto forecast = rehearse_small();
  std::int64_t parameters = 0;
  std::int64_t trained = 0;
  auto network = small_network();
  const auto rounded = [](std::int64_t bytes) { return (bytes + 511) / 512 * 512; };
  for (const auto& p : network->parameters()) trained += rounded(static_cast<std::int64_t>(p.nbytes()));
  parameters = trained;
  for (const auto& b : network->buffers()) parameters += rounded(static_cast<std::int64_t>(b.nbytes()));
  EXPECT_EQ(forecast.by_category[static_cast<std::size_t>(Category::parameters)], parameters);
  EXPECT_EQ(forecast.by_category[static_cast<std::size_t>(Category::optimizer)], 2 * trained);
}

TEST(Rehearse, LaterStepsAreAlike) {
  const auto forecast = rehearse_small(4);
  std::vector<std::int64_t> counts(6);  // the set-up, four steps, the tearing down
  for (const auto& event : forecast.ledger.events) ++counts[static_cast<std::size_t>(event.step)];
  EXPECT_EQ(counts[3], counts[4]);
  EXPECT_GT(counts[1], counts[3]);  // the optimizer's state is made once
}

TEST(Rehearse, EveryByteIsFreedWithTheProgram) {
  const auto forecast = rehearse_small();
  for (const auto& block : forecast.ledger.blocks) {
    if (block.category != Category::workspace) {
      EXPECT_NE(block.died, still_alive);
    }
  }
}

TEST(Rehearse, RealTrainingGoesOnUntouched) {
  const auto losses = [] {
    torch::manual_seed(3);
    auto network = small_network();
    torch::optim::SGD optimizer(network->parameters(), 0.1);
    std::vector<double> values;
    for (int i = 0; i < 2; ++i) {
      optimizer.zero_grad();
      auto loss = network->forward(torch::randn({4, 3, 8, 8})).square().mean();
      loss.backward();
      optimizer.step();
      values.push_back(loss.item<double>());
    }
    return values;
  };
  const auto before = losses();
  EXPECT_FALSE(torch::cuda::is_available());
  rehearse_small(1);
  EXPECT_FALSE(torch::cuda::is_available());
  EXPECT_EQ(before, losses());
  EXPECT_THROW(torch::empty({2}, torch::kCUDA), c10::Error);
}

}  // namespace
}  // namespace athanor::rehearse
