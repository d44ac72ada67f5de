// Whole steps on the phantom GPU: peaks that follow from arithmetic, and that nothing real is touched.
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "athanor/core/Error.h"
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

TEST(Rehearse, AValueThatDecidesASizeWantsABound) {
  const auto select = [](std::int64_t bound) {
    return rehearse({.steps = 1, .selected = bound}, [](torch::Device device, Stage& stage) {
      while (stage.next_step()) torch::empty({1000}, device).nonzero();
    });
  };
  EXPECT_THROW(select(-1), std::invalid_argument);
  EXPECT_EQ(select(10).ledger.blocks.back().requested, 80);
}

TEST(Rehearse, AnOperatorNobodyKnowsIsNamed) {
  const auto pack = [](torch::Device device, Stage&) {
    at::_weight_int8pack_mm(torch::empty({4, 4}, device), torch::empty({4, 4}, device), torch::empty({4}, device));
  };
  try {
    static_cast<void>(rehearse({}, pack));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("aten::_weight_int8pack_mm"), std::string::npos) << error.what();
  }
}

TEST(Rehearse, ASecondGpuHasItsOwnMemory) {
  const auto forecast = rehearse({.steps = 1, .devices = 2}, [](torch::Device, Stage& stage) {
    const auto small = torch::empty({1000}, torch::Device(torch::kCUDA, 0));
    const auto large = torch::empty({4 << 20}, torch::Device(torch::kCUDA, 1));
    static_cast<void>(stage.next_step());
    const auto sum = large + large;  // on the device of its inputs
    EXPECT_EQ(sum.device().index(), 1);
  });
  EXPECT_EQ(forecast.device, 1);
  EXPECT_EQ(forecast.peak.requested.value, 2 * (std::int64_t{16} << 20));
}

TEST(Rehearse, ABlockThatAnotherStreamUsesIsHeldUntilItIsSynchronised) {
  const auto peak = [](bool synchronise) {
    return rehearse({.steps = 1},
                    [&](torch::Device device, Stage& stage) {
                      static_cast<void>(stage.next_step());
                      const c10::impl::VirtualGuardImpl guard(torch::kCUDA);
                      const auto side = guard.getStreamFromGlobalPool(device);
                      torch::empty({8 << 20}, device).record_stream(side);
                      if (synchronise) guard.synchronizeStream(side);
                      torch::empty({8 << 20}, device);
                    })
        .peak.reserved.value;
  };
  EXPECT_EQ(peak(true), std::int64_t{32} << 20);
  EXPECT_EQ(peak(false), std::int64_t{64} << 20);
}

TEST(Rehearse, RecurrentLayersKeepTheirWeightsInOneBuffer) {
  const auto forecast = rehearse({.steps = 2}, [](torch::Device device, Stage& stage) {
    torch::nn::LSTM lstm(torch::nn::LSTMOptions(32, 64).num_layers(2).batch_first(true));
    stage.watch(*lstm);
    lstm->to(device);
    torch::optim::SGD optimizer(lstm->parameters(), 0.1);
    while (stage.next_step()) {
      optimizer.zero_grad();
      const auto output = std::get<0>(lstm->forward(torch::empty({8, 16, 32}, device)));
      EXPECT_EQ(output.sizes(), torch::IntArrayRef({8, 16, 64}));
      output.sum().backward();
      optimizer.step();
    }
  });
  EXPECT_GT(forecast.uncertain(), 0);  // cuDNN's reserve
}

}  // namespace
}  // namespace athanor::rehearse
