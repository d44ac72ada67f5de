#include "athanor/nn/Offload.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "athanor/core/Error.h"
#include "athanor/nn/Checkpoint.h"
#include "support/CountingAllocator.h"

namespace athanor::nn {
namespace {

// The tensors here are in host memory already: copying them shows order, bounds and equality. What it saves on a GPU is
// shown by the rehearsal's tests and bench/lean.cpp.
constexpr std::int64_t width = 64, rows = 256, bytes = width * rows * 4;
const OffloadOptions small{.min_size = Bytes{1024}, .max_in_flight = Bytes{2 * bytes}, .from_host = true};

struct Net {
  torch::nn::Sequential layers;
  at::Tensor x = torch::randn({rows, width}).requires_grad_();
  Net() {
    for (int i = 0; i < 8; ++i) {
      layers->push_back(torch::nn::Linear(width, width));
      layers->push_back(torch::nn::GELU());
      layers->push_back(torch::nn::Dropout(0.2));
    }
  }
  std::vector<at::Tensor> gradients(const std::function<at::Tensor()>& forward) {
    layers->zero_grad();
    x.mutable_grad() = at::Tensor();
    torch::manual_seed(11);
    forward().square().sum().backward();
    std::vector<at::Tensor> result{x.grad().clone()};
    for (const auto& parameter : layers->parameters()) result.push_back(parameter.grad().clone());
    return result;
  }
};

void expect_equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(torch::equal(a[i], b[i])) << i;
}

TEST(Offload, GradientsAreBitEqualAndComeBackAhead) {
  Net net;
  const auto plain = net.gradients([&] { return net.layers->forward(net.x); });
  std::shared_ptr<OffloadScope> scope;
  const auto result = net.gradients([&] {
    scope = std::make_shared<OffloadScope>(small);
    auto y = net.layers->forward(net.x);
    return y;
  });
  expect_equal(plain, result);
  const auto traffic = scope->traffic();
  EXPECT_GT(traffic.sent, 16);
  EXPECT_LE(traffic.fetched, traffic.sent);
  EXPECT_GE(traffic.fetched_ahead, traffic.fetched - 1);
  EXPECT_LE(traffic.peak_outgoing, small.max_in_flight);
  EXPECT_LE(traffic.peak_arriving, small.max_in_flight);
}

TEST(Offload, ATensorThatSeveralOperatorsSavedTravelsOnce) {
  const auto x = torch::randn({rows, width}).requires_grad_();
  const auto hidden = x * 1;
  const OffloadScope scope(small);
  const auto y = hidden.sin() + hidden.exp() + hidden.sin();  // exp saves its result, sin its input
  EXPECT_EQ(scope.traffic().sent, 2);
  y.sum().backward();
  EXPECT_TRUE(torch::allclose(x.grad(), 2 * x.cos() + x.exp()));
}

TEST(Offload, AChangeInPlaceIsAMistakeWhileTheCopyMayReadAndHarmlessAfterIt) {
  const auto x = torch::randn({rows, width}).requires_grad_();
  for (const bool left : {false, true}) {
    x.mutable_grad() = at::Tensor();
    const auto hidden = x * 1;
    const OffloadScope scope(small);
    auto y = hidden.sin();
    if (left)
      for (int i = 0; i < 3; ++i) y = y.sin();  // pushes `hidden` out
    hidden.detach().add_(1);
    if (!left) {
      EXPECT_THROW(y.sum().backward(), Error);
      continue;
    }
    y.sum().backward();
    const auto s = x.sin(), t = s.sin(), u = t.sin();
    EXPECT_TRUE(torch::allclose(x.grad(), x.cos() * s.cos() * t.cos() * u.cos()));
  }
}

TEST(Offload, ParametersAndSmallTensorsStay) {
  torch::nn::Linear big(512, 512), bigger(512, 512);
  const auto x = torch::randn({2, 512});
  const OffloadScope scope({.min_size = Bytes{16384}, .from_host = true});
  bigger->forward(big->forward(x)).sum().backward();
  EXPECT_EQ(scope.traffic().sent, 0);
}

TEST(Offload, AroundCheckpointsTheirInputsTravelAlone) {
  Net net;
  const auto plain = net.gradients([&] { return net.layers->forward(net.x); });
  std::int64_t sent = 0;
  expect_equal(plain, net.gradients([&] {
    const OffloadScope scope(small);
    auto y = net.x;
    for (const auto& layer : *net.layers)
      y = checkpoint([layer = torch::nn::AnyModule(layer)](
                         const at::Tensor& v) mutable { return layer.any_forward(v).get<at::Tensor>(); },
                     y);
    sent = scope.traffic().sent;
    return y;
  }));
  EXPECT_EQ(sent, 23);  // 24 layers; the first one's input is a leaf
}

TEST(Offload, InsideACheckpoint) {
  Net net;
  const auto plain = net.gradients([&] { return net.layers->forward(net.x); });
  expect_equal(plain, net.gradients([&] {
    return checkpoint([&](const at::Tensor& x) { return offload(small, [&] { return net.layers->forward(x); }); },
                      net.x);
  }));
}

TEST(Offload, ServesTwoBackwardPasses) {
  const auto x = torch::randn({rows, width}).requires_grad_();
  const auto y = offload(small, [&] { return (x * 1).sin().exp().tanh(); });
  const auto once = torch::autograd::grad({y.sum()}, {x}, {}, /*retain_graph=*/true)[0];
  EXPECT_TRUE(torch::equal(once, torch::autograd::grad({y.sum()}, {x})[0]));
}

}  // namespace
}  // namespace athanor::nn
