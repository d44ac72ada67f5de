#include "athanor/memory/Release.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "athanor/optim/Adam.h"
#include "support/CountingAllocator.h"

namespace athanor::memory {
namespace {

struct NetImpl : torch::nn::Module {
  torch::nn::Linear linear{register_module("linear", torch::nn::Linear(64, 64))};
  torch::nn::BatchNorm1d norm{register_module("norm", torch::nn::BatchNorm1d(64))};
  at::Tensor forward(const at::Tensor& x) { return norm(linear(x)); }
};
TORCH_MODULE(Net);

constexpr std::int64_t parameters = 4 * (64 * 64 + 3 * 64), buffers = 4 * 2 * 64 + 8;

at::Tensor train_a_step(Net& net, torch::optim::Optimizer& optimizer) {
  auto loss = net(torch::randn({4, 64})).square().sum();
  loss.backward();
  optimizer.step();
  return loss;
}

TEST(Release, EverythingComesFreeAndIsCounted) {
  test::CountingAllocator memory;
  const auto before = memory.live();
  Net net;
  torch::optim::AdamW optimizer(net->parameters());
  train_a_step(net, optimizer);
  const auto held = memory.live() - before;
  const auto released = release(std::move(net), {.optimizer = &optimizer});
  EXPECT_EQ(released.held.count, 4 * parameters + buffers);
  EXPECT_EQ(released.freed, released.held);
  EXPECT_TRUE(released.rest.empty()) << released.text();
  EXPECT_EQ(memory.live(), before) << "of " << held;
  EXPECT_TRUE(net.is_empty());
}

TEST(Release, SeesTheStateOfOurOptimizers) {
  Net net;
  optim::AdamW optimizer(net->parameters(), {.lr = 1e-3});
  train_a_step(net, optimizer);
  const auto released = release(std::move(net), {.optimizer = &optimizer});
  EXPECT_GE(released.held.count, 4 * parameters + buffers);
  EXPECT_EQ(released.freed, released.held) << released.text();
}

std::string holder_of(const Released& released, const std::string& what) {
  for (const auto& rest : released.rest)
    if (rest.what == what) return rest.held_by;
  return "nobody";
}

TEST(Release, NamesASecondHandle) {
  Net net;
  const Net second = net;
  const auto released = release(std::move(net));
  EXPECT_EQ(released.freed.count, 0);
  EXPECT_EQ(holder_of(released, "parameters"), "1 more handle to the module");
}

TEST(Release, NamesAnOptimizerThatWasNotGiven) {
  Net net;
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  train_a_step(net, optimizer);
  const auto released = release(std::move(net));
  EXPECT_EQ(released.freed.count, buffers);
  EXPECT_NE(holder_of(released, "parameters").find("an optimizer"), std::string::npos) << released.text();
  EXPECT_EQ(holder_of(released, "gradients"), "the parameters they belong to");
}

TEST(Release, NamesKeptGradientsGraphsAndViews) {
  {
    Net net;
    torch::optim::SGD optimizer(net->parameters(), 0.1);
    train_a_step(net, optimizer);
    const auto kept = net->linear->weight.grad();
    const auto released = release(std::move(net), {.optimizer = &optimizer});
    EXPECT_EQ(released.held.count - released.freed.count, 4 * 64 * 64);
    EXPECT_NE(holder_of(released, "gradients").find("handle"), std::string::npos);
  }
  {
    Net net;
    const auto output = net(torch::randn({4, 64}));
    EXPECT_NE(holder_of(release(std::move(net)), "parameters").find("autograd graph"), std::string::npos);
  }
  Net net;
  const auto view = net->linear->weight.detach().narrow(0, 0, 1);
  EXPECT_NE(holder_of(release(std::move(net)), "parameters").find("view"), std::string::npos);
}

TEST(Release, NamesSuspectsWithSharedMemoryAndWithCopies) {
  Net net, ema;
  torch::nn::Linear tied(64, 64);
  tied->weight = net->linear->weight;
  const auto released =
      release(std::move(net), {.suspects = {suspect("the EMA", *ema), {"a tied layer", {tied->weight}}}});
  EXPECT_EQ(holder_of(released, "parameters"), "a tied layer");
  EXPECT_NE(holder_of(released, "the EMA").find("copy"), std::string::npos);
  EXPECT_NE(released.text().find("still held by a tied layer"), std::string::npos);
}

TEST(Release, AnEmptyModuleIsAMistake) {
  Net net;
  release(std::move(net));
  EXPECT_THROW(release(std::shared_ptr<torch::nn::Module>()), std::invalid_argument);
}

}  // namespace
}  // namespace athanor::memory
