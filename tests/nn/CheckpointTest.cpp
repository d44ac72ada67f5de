#include "athanor/nn/Checkpoint.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "athanor/core/Error.h"
#include "athanor/nn/Blocks.h"
#include "support/CountingAllocator.h"

namespace athanor::nn {
namespace {

namespace tnn = torch::nn;

tnn::Sequential make_block(std::int64_t width) {
  return tnn::Sequential(tnn::Linear(width, 4 * width), tnn::GELU(), tnn::Dropout(0.3), tnn::Linear(4 * width, width));
}

using Gradients = std::vector<at::Tensor>;

/// Gradients of sum(f(x)²) for x and every parameter, from the same random seed.
template <class Forward>
Gradients gradients(const std::vector<at::Tensor>& leaves, Forward forward) {
  for (const auto& leaf : leaves) leaf.mutable_grad() = at::Tensor();
  torch::manual_seed(7);
  forward().square().sum().backward();
  Gradients result;
  for (const auto& leaf : leaves) result.push_back(leaf.grad().clone());
  result.push_back(torch::rand({1}));  // where the random stream stands afterwards
  return result;
}

void expect_equal(const Gradients& a, const Gradients& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(torch::equal(a[i], b[i])) << "gradient " << i;
}

struct Net {
  tnn::Sequential first = make_block(16), second = make_block(16);
  at::Tensor x = torch::randn({8, 16}).requires_grad_();
  [[nodiscard]] std::vector<at::Tensor> leaves() const {
    auto all = first->parameters();
    for (const auto& parameter : second->parameters()) all.push_back(parameter);
    all.push_back(x);
    return all;
  }
  at::Tensor plain() { return second->forward(first->forward(x)); }
};

TEST(Checkpoint, GradientsAndRandomStreamAreThePlainOnes) {
  Net net;
  const auto run = [](tnn::Sequential block) {
    return [block](const at::Tensor& x) mutable { return block->forward(x); };
  };
  const auto plain = gradients(net.leaves(), [&] { return net.plain(); });
  for (const bool early : {true, false})
    expect_equal(plain, gradients(net.leaves(), [&] {
                   const CheckpointOptions options{.stop_early = early};
                   return checkpoint(options, run(net.second), checkpoint(options, run(net.first), net.x));
                 }));
}

TEST(Checkpoint, Nests) {
  Net net;
  const auto inner = [&](const at::Tensor& x) { return net.first->forward(x); };
  const auto outer = [&](const at::Tensor& x) {
    return net.second->forward(checkpoint(inner, checkpoint(inner, x * 2) + x));
  };
  const auto outermost = [&](const at::Tensor& x) { return checkpoint(outer, x).sin() * x; };
  const auto flat = [&](const at::Tensor& x) {
    return net.second->forward(net.first->forward(net.first->forward(x * 2) + x)).sin() * x;
  };
  expect_equal(gradients(net.leaves(), [&] { return flat(net.x); }),
               gradients(net.leaves(), [&] { return checkpoint(outermost, net.x); }));
}

TEST(Checkpoint, AutocastIsAsInTheFirstPass) {
  Net net;
  const auto in_bf16 = [&](auto forward) {
    return [&net, forward] {
      at::autocast::set_autocast_enabled(at::kCPU, true);
      at::autocast::increment_nesting();
      auto y = forward(net.x);
      if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
      at::autocast::set_autocast_enabled(at::kCPU, false);  // backward runs outside of the region
      EXPECT_EQ(y.scalar_type(), at::kBFloat16);
      return y.to(at::kFloat);
    };
  };
  const auto plain = [&](const at::Tensor& x) { return net.second->forward(net.first->forward(x)); };
  expect_equal(gradients(net.leaves(), in_bf16(plain)),
               gradients(net.leaves(), in_bf16([&](const at::Tensor& x) { return checkpoint(plain, x); })));
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
}

TEST(Checkpoint, AnyInputsAndOutputs) {
  const auto a = torch::randn({4, 4}).requires_grad_();
  const auto b = torch::randn({4, 4});  // needs no gradient
  struct Both {
    at::Tensor sum;
    std::vector<at::Tensor> products;
  };
  const auto fn = [](const at::Tensor& x, const std::vector<at::Tensor>& others, double scale, const at::Tensor& none) {
    EXPECT_FALSE(none.defined());
    return Both{(x.exp() + others[0].sin()) * scale, {x * others[0], others[1].tanh() * x}};
  };
  const auto total = [](const Both& both) { return both.sum.sum() + (both.products[0] * both.products[1]).sum(); };
  const auto c = torch::randn({4, 4}).requires_grad_();
  const std::vector<at::Tensor> others{b, c};
  expect_equal(gradients({a, c}, [&] { return total(fn(a, others, 0.5, {})); }),
               gradients({a, c}, [&] { return total(checkpoint(fn, a, others, 0.5, at::Tensor())); }));
}

TEST(Checkpoint, ServesTwoBackwardPassesAndSecondDerivatives) {
  const auto x = torch::randn({5}, at::kDouble).requires_grad_();
  const auto fn = [](const at::Tensor& v) { return (v.sin() * v.exp()).tanh(); };
  const auto second = [&](const at::Tensor& y) {
    const auto first = torch::autograd::grad({y.sum()}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
    return torch::autograd::grad({first.sum()}, {x}, {}, /*retain_graph=*/true)[0];
  };
  EXPECT_TRUE(torch::equal(second(fn(x)), second(checkpoint(fn, x))));
  const auto y = checkpoint(fn, x);
  const auto once = torch::autograd::grad({y.sum()}, {x}, {}, /*retain_graph=*/true)[0];
  EXPECT_TRUE(torch::equal(once, torch::autograd::grad({y.sum()}, {x})[0]));
}

TEST(Checkpoint, WithoutGradientsItIsThePlainCall) {
  const torch::NoGradGuard no_gradients;
  int calls = 0;
  const auto y = checkpoint([&](const at::Tensor& x) { return ++calls, x * 2; }, torch::ones({2}));
  EXPECT_EQ(calls, 1);
  EXPECT_FALSE(y.requires_grad());
}

std::string message_of_backward(const at::Tensor& y) {
  try {
    y.sum().backward();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Checkpoint, SaysWhenTheFunctionDoesNotComputeTheSameAgain) {
  const auto x = torch::randn({4}).requires_grad_();
  for (const int change : {-1, 1}) {
    int calls = 0;
    const auto y = checkpoint(
        {.stop_early = false},
        [&](at::Tensor v) {
          for (int i = 0; i < 3 + change * calls; ++i) v = v.sin();
          ++calls;
          return v;
        },
        x);
    EXPECT_NE(message_of_backward(y).find(change > 0 ? "more tensors" : "fewer tensors"), std::string::npos);
  }
  int calls = 0;
  const auto shape = checkpoint([&](const at::Tensor& v) { return v.repeat(++calls).sin(); }, x);
  EXPECT_NE(message_of_backward(shape).find("[8]"), std::string::npos);
}

TEST(Checkpoint, SaysWhenAnInputWasChangedInPlace) {
  const auto x = torch::randn({4}).requires_grad_();
  const auto hidden = x * 1;
  const auto y = checkpoint([](const at::Tensor& v) { return v.sin().exp(); }, hidden);
  hidden.detach().add_(1);
  EXPECT_NE(message_of_backward(y).find("changed in place"), std::string::npos);
}

TEST(Checkpoint, FreesTheActivations) {
  constexpr std::int64_t depth = 12, bytes = 256 * 256 * 4;
  const auto deep = [](const at::Tensor& x) {
    auto y = x;
    for (int i = 0; i < depth; ++i) y = y.sin();
    return y;
  };
  const auto x = torch::randn({256, 256}).requires_grad_();
  test::CountingAllocator memory;
  {
    const auto plain = deep(x);
    EXPECT_EQ(memory.live(), depth * bytes);
  }
  const auto y = checkpoint(deep, x);
  EXPECT_LT(memory.live(), 2 * bytes);  // the result, and a random state
  y.sum().backward();
  EXPECT_LT(memory.live(), 3 * bytes);  // and x's gradient: backward gave up what it had recomputed
}

struct BlockNetImpl : tnn::Module, Blocks {
  BlockNetImpl() {
    for (int i = 0; i < 3; ++i)
      blocks.push_back(register_module("block" + std::to_string(i),
                                       tnn::Sequential(tnn::Conv2d(3, 3, 3), tnn::BatchNorm2d(3), tnn::ReLU())));
  }
  [[nodiscard]] std::int64_t block_count() const override { return 3; }
  at::Tensor forward(at::Tensor x) {
    for (std::size_t i = 0; i < blocks.size(); ++i) x = run_block(static_cast<std::int64_t>(i), blocks[i], x);
    return x;
  }
  std::vector<tnn::Sequential> blocks;
};
TORCH_MODULE(BlockNet);

TEST(Blocks, EveryPolicyKeepsGradientsAndRunningStatistics) {
  const auto x = torch::randn({2, 3, 12, 12}).requires_grad_();
  std::optional<Gradients> plain;
  for (const char* policy : {"off", "all", "every:2", "first:1", "first:3"}) {
    torch::manual_seed(3);
    BlockNet net;
    set_checkpointing(*net, Checkpointing::parse(policy));
    auto leaves = net->parameters();
    leaves.push_back(x);
    auto result = gradients(leaves, [&] { return net->forward(x); });
    for (const auto& buffer : net->buffers()) result.push_back(buffer);
    if (!plain) plain = result;
    SCOPED_TRACE(policy);
    expect_equal(*plain, result);
  }
}

TEST(Blocks, PolicyInWords) {
  const auto every = Checkpointing::parse("every:3");
  EXPECT_TRUE(every.covers(0) && every.covers(6));
  EXPECT_FALSE(every.covers(1) || every.covers(5));
  for (const char* text : {"off", "all", "every:3", "first:4"}) EXPECT_EQ(Checkpointing::parse(text).text(), text);
  for (const char* text : {"", "of", "every:0", "every:", "first:-1", "first:2x"})
    EXPECT_THROW(Checkpointing::parse(text), std::invalid_argument) << text;
}

TEST(Blocks, MistakesAreNamed) {
  tnn::Linear plain(2, 2);
  EXPECT_NO_THROW(set_checkpointing(*plain, Checkpointing::off()));
  try {
    set_checkpointing(*plain, Checkpointing::all());
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("block_count()"), std::string::npos) << error.what();
  }
  EXPECT_THROW(set_checkpointing(*BlockNet(), Checkpointing::first(4)), std::invalid_argument);
  tnn::Sequential wrapped(tnn::Linear(2, 2), BlockNet());
  EXPECT_NE(find_blocks(*wrapped), nullptr);
}

}  // namespace
}  // namespace athanor::nn
