#include "athanor/amp/Autocast.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

namespace athanor::amp {
namespace {

const c10::Device kCpu(c10::kCPU);

TEST(Autocast, PicksThePrecisionOfEachOperationAndEndsWithTheScope) {
  const auto a = torch::randn({4, 4});
  {
    const Autocast region(kCpu, torch::kBFloat16);
    EXPECT_EQ(torch::mm(a, a).scalar_type(), torch::kBFloat16);
    EXPECT_EQ(torch::mse_loss(torch::mm(a, a), a).scalar_type(), torch::kFloat) << "losses keep the range of fp32";
  }
  EXPECT_EQ(torch::mm(a, a).scalar_type(), torch::kFloat);
}

TEST(Autocast, Nests) {
  const auto a = torch::randn({4, 4});
  const Autocast outer(kCpu, torch::kBFloat16);
  {
    const Autocast off(kCpu, torch::kFloat);
    EXPECT_EQ(torch::mm(a, a).scalar_type(), torch::kFloat);
    const Autocast half(kCpu, torch::kHalf);
    EXPECT_EQ(torch::mm(a, a).scalar_type(), torch::kHalf);
  }
  EXPECT_EQ(torch::mm(a, a).scalar_type(), torch::kBFloat16);
}

TEST(Autocast, RefusesADtypeThatNothingIsComputedIn) {
  EXPECT_THROW(Autocast(kCpu, torch::kInt), std::invalid_argument);
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
}

TEST(Autocast, RestoresWhatItFoundWhenAnExceptionLeaves) {
  try {
    const Autocast region(kCpu, torch::kHalf);
    throw std::runtime_error("x");
  } catch (const std::runtime_error&) {
  }
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
  EXPECT_TRUE(at::autocast::is_autocast_cache_enabled());
}

// pytorch#112583: LibTorch 2.15 keeps the casts of the two gradient modes apart itself; older ones do not.
TEST(Autocast, ANoGradForwardDoesNotPoisonTheForwardAfterIt) {
  const auto x = torch::randn({2, 4});
  for (const bool keep_casts : {false, true}) {
    torch::nn::Linear layer(4, 4);
    const Autocast region(kCpu, torch::kBFloat16, keep_casts);
    {
      const torch::NoGradGuard no_grad;
      layer->forward(x);
    }
    layer->forward(x).sum().backward();
    ASSERT_TRUE(layer->weight.grad().defined());
    EXPECT_GT(layer->weight.grad().abs().sum().item<float>(), 0);
  }
}

TEST(Autocast, CastsThatAreKeptGoWhenTheOutermostRegionEnds) {
  torch::nn::Linear layer(4, 4);
  const auto x = torch::ones({1, 4});
  const auto forward = [&] {
    const Autocast region(kCpu, torch::kBFloat16, /*keep_casts=*/true);
    return layer->forward(x).sum().item<float>();
  };
  const float before = forward();
  {
    const torch::NoGradGuard no_grad;
    layer->weight.zero_();
    layer->bias.fill_(2);
  }
  EXPECT_NE(before, 8);
  EXPECT_EQ(forward(), 8) << "a kept cast outlived its region";
}

class LowPrecision : public testing::TestWithParam<torch::ScalarType> {};

TEST_P(LowPrecision, ReallyTrainsOnTheCpu) {
  torch::manual_seed(3);
  torch::nn::Sequential net(torch::nn::Linear(8, 32), torch::nn::ReLU(), torch::nn::Linear(32, 2));
  torch::optim::SGD sgd(net->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  const auto x = torch::randn({256, 8});
  const auto y = (x.select(1, 0) * x.select(1, 1) > 0).to(torch::kLong);
  float first = 0, last = 0;
  for (int step = 0; step < 150; ++step) {
    sgd.zero_grad();
    torch::Tensor loss;
    {
      const Autocast region(kCpu, GetParam());
      loss = torch::cross_entropy_loss(net->forward(x), y);
    }
    loss.backward();
    EXPECT_EQ(net->parameters()[0].grad().scalar_type(), torch::kFloat);
    sgd.step();
    (step == 0 ? first : last) = loss.item<float>();
  }
  EXPECT_LT(last, 0.35F * first);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, LowPrecision, testing::Values(torch::kBFloat16, torch::kHalf),
                         [](const auto& test) { return std::string(c10::toString(test.param)); });

}  // namespace
}  // namespace athanor::amp
