// Clipping, steps in backward, and the storage of state and parameters.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <limits>

#include "athanor/core/Error.h"
#include "athanor/optim/Adam.h"
#include "athanor/optim/Clip.h"
#include "athanor/optim/SGD.h"
#include "athanor/optim/SignDescent.h"
#include "athanor/optim/State.h"
#include "athanor/optim/StepInBackward.h"

namespace athanor::optim {
namespace {

std::vector<at::Tensor> with_gradients(const std::vector<at::Tensor>& gradients) {
  std::vector<at::Tensor> params;
  for (const auto& grad : gradients) {
    params.push_back(torch::zeros_like(grad).requires_grad_());
    params.back().mutable_grad() = grad.clone();
  }
  params.push_back(torch::zeros({3}, torch::requires_grad()));  // without one
  return params;
}

TEST(Clip, NormEqualsLibTorchs) {
  torch::manual_seed(1);
  const std::vector<at::Tensor> gradients = {torch::randn({1000}), torch::randn({3, 5}).t(), torch::randn({}),
                                             torch::randn({2, 3, 4, 4}).contiguous(at::MemoryFormat::ChannelsLast),
                                             torch::randn({4, 6}).slice(1, 0, 6, 2)};
  for (const double p : {2.0, 1.0, 3.0, std::numeric_limits<double>::infinity()}) {
    for (const double max_norm : {0.5, 1e6}) {
      auto ours = with_gradients(gradients);
      auto theirs = with_gradients(gradients);
      const double norm = clip_grad_norm(ours, max_norm, {.norm_type = p}).item<double>();
      const double expected = torch::nn::utils::clip_grad_norm_(theirs, max_norm, p);
      EXPECT_NEAR(norm, expected, 1e-5 * expected);
      for (std::size_t i = 0; i + 1 < ours.size(); ++i)
        EXPECT_TRUE(at::allclose(ours[i].grad(), theirs[i].grad(), 1e-5, 1e-7)) << p << " " << i;
    }
  }
}

TEST(Clip, ValueEqualsLibTorchsAndKeepsNan) {
  const std::vector<at::Tensor> gradients = {torch::randn({1000}) * 3, torch::tensor({NAN, 5.F, -5.F})};
  auto ours = with_gradients(gradients);
  auto theirs = with_gradients(gradients);
  clip_grad_value(ours, 1.5);
  torch::nn::utils::clip_grad_value_(theirs, 1.5);
  for (std::size_t i = 0; i < gradients.size(); ++i)
    EXPECT_TRUE(at::allclose(ours[i].grad(), theirs[i].grad(), 0, 0, /*equal_nan=*/true));
}

TEST(Clip, NonFiniteNormsAndBadArguments) {
  auto params = with_gradients({torch::tensor({1.F, INFINITY})});
  EXPECT_THROW(clip_grad_norm(params, 1, {.error_if_nonfinite = true}), Error);
  EXPECT_EQ(params[0].grad()[0].item<float>(), 1) << "an error changes nothing";
  EXPECT_TRUE(std::isinf(clip_grad_norm(params, 1).item<float>()));
  EXPECT_THROW(clip_grad_norm(params, -1), std::invalid_argument);
  EXPECT_THROW(clip_grad_norm(params, 1, {.norm_type = 0}), std::invalid_argument);
  EXPECT_THROW(clip_grad_value(params, -1), std::invalid_argument);
  EXPECT_EQ(clip_grad_norm({torch::zeros({2})}, 1).item<float>(), 0);
}

struct Twin {
  torch::nn::Sequential a = make(), b = make();
  at::Tensor x = torch::randn({8, 64}), y = torch::randn({8, 64});
  static torch::nn::Sequential make() {
    torch::manual_seed(2);
    return torch::nn::Sequential(torch::nn::Linear(64, 96), torch::nn::Tanh(), torch::nn::Linear(96, 64));
  }
  void backward(torch::nn::Sequential& net) const { torch::mse_loss(net->forward(x), y).backward(); }
};

TEST(Gradients, OneOfAnotherShapeIsRefusedBeforeAnyUpdate) {
  const at::Tensor x = torch::ones({64}, torch::requires_grad());
  const at::Tensor y = torch::ones({64}, torch::requires_grad());
  AdamW optimizer({x, y}, {});
  x.mutable_grad() = torch::ones({64});
  y.mutable_grad() = torch::ones({8});
  try {
    optimizer.step();
    FAIL() << "taken";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "adamw: parameter 1 of shape [64] has a gradient of shape [8]");
  }
  EXPECT_TRUE(at::equal(x, torch::ones({64})));
}

TEST(Gradients, SparseOnesWhereTheyGo) {
  const at::Tensor grad = at::sparse_coo_tensor(torch::tensor({{1, 3, 1}}), torch::ones({3, 2}), {5, 2});
  const auto with_grad = [&] {
    at::Tensor x = torch::ones({5, 2}, torch::requires_grad());
    x.mutable_grad() = grad;
    return x;
  };
  at::Tensor x = with_grad();
  SGD({x}, {.lr = 0.5}).step();
  EXPECT_TRUE(at::allclose(x, torch::ones({5, 2}) - 0.5 * grad.to_dense()));
  x = with_grad();
  try {
    AdamW({x}, {}).step();
    FAIL() << "taken";
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("sparse_adam"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(at::equal(x, torch::ones({5, 2})));
}

TEST(StepInBackward, SameBitsAndNoGradientIsLeft) {
  Twin twin;
  AdamW plain(twin.a->parameters(), {.lr = 1e-2});
  AdamW early(twin.b->parameters(), {.lr = 1e-2});
  {
    const auto active = step_in_backward(early, *twin.b);
    for (int i = 0; i < 5; ++i) {
      plain.zero_grad();
      twin.backward(twin.a);
      plain.step();
      twin.backward(twin.b);
      for (const auto& param : twin.b->parameters()) EXPECT_FALSE(param.grad().defined());
    }
  }
  for (std::size_t i = 0; i < twin.a->parameters().size(); ++i)
    EXPECT_TRUE(at::equal(twin.a->parameters()[i], twin.b->parameters()[i]));
  twin.backward(twin.b);  // its end is the end of the hooks
  EXPECT_TRUE(twin.b->parameters()[0].grad().defined());
}

TEST(StepInBackward, RefusesWhatCannotWork) {
  Twin twin;
  SGD optimizer(twin.a->parameters(), {});
  EXPECT_THROW((void)step_in_backward(optimizer, *twin.a, {.clip_norm = 1}), std::invalid_argument);
  EXPECT_THROW((void)step_in_backward(optimizer, *twin.a, {.accumulate = 2}), std::invalid_argument);
  EXPECT_THROW((void)step_in_backward(optimizer, *twin.a, {.grad_scaler = true}), std::invalid_argument);
  EXPECT_THROW((void)step_in_backward(optimizer, *twin.b), std::invalid_argument);
}

// A sum of squares: what is learnt after some steps says how well the storage keeps small changes.
template <class Options>
double distance_after(at::Tensor start, const at::Tensor& target, Options options, int steps) {
  at::Tensor x = start.clone().requires_grad_();
  OptimizerOf<Options> optimizer({x}, options);
  for (int i = 0; i < steps; ++i) {
    x.mutable_grad() = (x.detach().to(at::kFloat) - target).to(x.scalar_type());
    optimizer.step();
  }
  return (x.detach().to(at::kFloat) - target).norm().item<double>() / target.norm().item<double>();
}

TEST(Storage, EightBitStateIsSmallAndLearnsAsWell) {
  torch::manual_seed(4);
  const at::Tensor target = torch::randn({20000});
  const at::Tensor start = torch::zeros({20000});
  const double full = distance_after(start, target, AdamWOptions{.lr = 3e-3, .weight_decay = 0}, 600);
  const double small =
      distance_after(start, target, AdamWOptions{.lr = 3e-3, .weight_decay = 0, .storage = {.states = "8bit"}}, 600);
  EXPECT_NEAR(small, full, 0.01);
  at::Tensor x = start.clone().requires_grad_();
  at::Tensor tiny = torch::zeros({4095}, torch::requires_grad());
  AdamW optimizer({x, tiny}, {.storage = {.states = "8bit"}});
  x.mutable_grad() = torch::randn({20000});
  tiny.mutable_grad() = torch::randn({4095});
  optimizer.step();
  EXPECT_EQ(optimizer.state_bytes(), 2 * (20000 + 79 * 4) + 2 * 4095 * 4)
      << "two bytes an element, 4 a block; small ones in float";
}

TEST(Storage, StochasticRoundingAndKahanKeepWhatBfloat16Loses) {
  torch::manual_seed(5);
  const at::Tensor target = torch::rand({8192}) + 1;
  const at::Tensor start = torch::ones({8192}, at::kBFloat16) * 1.5;
  const auto after = [&](const std::string& rounding) {
    // 200 steps of 1/2000: each is an eighth of the distance between neighbours, so rounding to nearest loses it.
    return distance_after(start, target, SGDOptions{.lr = 1e-2, .storage = {.rounding = rounding}}, 200);
  };
  const double exact = distance_after(start.to(at::kFloat), target, SGDOptions{.lr = 1e-2}, 200);
  EXPECT_GT(after("nearest"), 3 * exact);
  EXPECT_LT(after("stochastic"), exact + 0.02);
  EXPECT_LT(after("kahan"), exact + 0.005);
}

TEST(Storage, NoiseGoesOnWhereItStopped) {
  const at::Tensor grad = torch::randn({5000}).to(at::kBFloat16);
  const auto step = [&](AdamW& optimizer, at::Tensor& x) {
    x.mutable_grad() = grad;
    optimizer.step();
  };
  const AdamWOptions options{.storage = {.states = "8bit", .rounding = "stochastic", .seed = 9}};
  at::Tensor x = torch::randn({5000}).to(at::kBFloat16).requires_grad_();
  AdamW optimizer({x}, options);
  step(optimizer, x);
  at::Tensor y = x.detach().clone().requires_grad_();
  AdamW resumed({y}, options);
  restore(resumed, state_of(optimizer));
  for (int i = 0; i < 3; ++i) {
    step(optimizer, x);
    step(resumed, y);
  }
  EXPECT_TRUE(at::equal(x, y));
}

TEST(Storage, OperatorsOfOtherDevicesDoWhatTheEngineDoes) {
  // A view with gaps takes LibTorch's operators, its dense copy the engine.
  torch::manual_seed(6);
  for (const std::string states : {"same", "8bit"}) {
    at::Tensor wide = torch::randn({100, 100, 2});
    at::Tensor gaps = wide.select(2, 0).detach().requires_grad_();
    at::Tensor dense = gaps.detach().clone(at::MemoryFormat::Contiguous).requires_grad_();
    AdamW a({gaps}, {.lr = 1e-2, .storage = {.states = states}});
    AdamW b({dense}, {.lr = 1e-2, .storage = {.states = states}});
    for (int i = 0; i < 5; ++i) {
      const at::Tensor grad = torch::randn({100, 100});
      gaps.mutable_grad() = grad;
      dense.mutable_grad() = grad;
      a.step();
      b.step();
    }
    EXPECT_TRUE(at::allclose(gaps, dense, 1e-5, 1e-6)) << states;
  }
}

// Operators take a large parameter in stretches, to bound their temporaries; scales and noise go on across the cut.
TEST(Storage, OperatorsTakeALargeParameterInStretches) {
  torch::manual_seed(7);
  at::Tensor wide = torch::randn({2100, 2100, 2}, at::kBFloat16);
  at::Tensor gaps = wide.select(2, 0).detach().requires_grad_();
  at::Tensor dense = gaps.detach().clone(at::MemoryFormat::Contiguous).requires_grad_();
  const AdamWOptions options{.lr = 1e-2, .storage = {.states = "8bit", .rounding = "stochastic", .seed = 3}};
  AdamW a({gaps}, options), b({dense}, options);
  for (int i = 0; i < 3; ++i) {
    gaps.mutable_grad() = dense.mutable_grad() = torch::randn({2100, 2100}, at::kBFloat16);
    a.step();
    b.step();
  }
  // Sums in another order may put a number on the other side of its rounding: rarely, and by one code.
  const at::Tensor apart = (gaps - dense).abs().to(at::kFloat);
  EXPECT_LT(apart.gt(0).to(at::kFloat).mean().item<double>(), 1e-3);
  EXPECT_LT(apart.max().item<double>(), 0.05);
}

}  // namespace
}  // namespace athanor::optim
