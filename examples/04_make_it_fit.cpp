// What makes my own training step fit into 2 GiB, and how is it then fastest? Searched by rehearsal, without a GPU.
#include <fmt/format.h>
#include <torch/torch.h>

#include "athanor/core/Terminal.h"
#include "athanor/nn/Blocks.h"
#include "athanor/optim/Adam.h"
#include "athanor/optim/StepInBackward.h"
#include "athanor/plan/Roofline.h"
#include "athanor/plan/Search.h"
#include "athanor/plan/Text.h"
#include "athanor/rehearse/Rehearse.h"

namespace nn = athanor::nn;
namespace plan = athanor::plan;
namespace rehearse = athanor::rehearse;

constexpr auto gpu = "RTX 4060";

struct BlockImpl : torch::nn::Module {
  torch::nn::Linear up{register_module("up", torch::nn::Linear(1024, 4096))};
  torch::nn::Linear down{register_module("down", torch::nn::Linear(4096, 1024))};
  torch::Tensor forward(const torch::Tensor& x) { return x + down(torch::gelu(up(x))); }
};
TORCH_MODULE(Block);

// A model that lists its blocks can be checkpointed from outside.
struct NetImpl : torch::nn::Module, nn::Blocks {
  std::vector<Block> blocks = std::vector<Block>(12);
  NetImpl() {
    for (auto& block : blocks) register_module("block" + std::to_string(&block - blocks.data()), block = Block());
  }
  std::int64_t block_count() const override { return std::ssize(blocks); }
  torch::Tensor forward(torch::Tensor x) {
    for (std::int64_t i = 0; i < block_count(); ++i) x = run_block(i, blocks[i], x);
    return x;
  }
};
TORCH_MODULE(Net);

plan::Cost cost_of(const plan::Settings& settings) {
  plan::Estimate time;
  const auto forecast = rehearse::rehearse({.gpu = gpu, .steps = 2}, [&](torch::Device device, rehearse::Stage& stage) {
    Net net{nullptr};
    {
      const auto shapes_only = stage.without_host_memory();
      net = Net();
    }
    net->set_checkpointing(nn::Checkpointing::parse(settings.checkpointing));
    net->to(device);
    athanor::optim::AdamW optimizer(net->parameters(), {.lr = 1e-3});
    std::optional<athanor::optim::InBackward> in_backward;
    if (settings.optimizer_in_backward) in_backward = athanor::optim::step_in_backward(optimizer, *net);
    while (stage.next_step()) {
      plan::WorkCounter counter;
      for (std::int64_t i = 0; i < settings.accumulate; ++i)
        net->forward(torch::randn({settings.micro_batch, 1024}, device)).square().mean().backward();
      if (!in_backward) optimizer.step(), optimizer.zero_grad();
      time = plan::roofline(counter.take(), athanor::gpu::Table::standard().find(gpu));
    }
  });
  return {athanor::Bytes{forecast.peak.reserved.high}, athanor::Bytes{forecast.peak.process.high}, time.seconds};
}

int main() {
  const auto budget = athanor::Bytes::parse("2GiB");
  const auto found = plan::search({.micro_batches = {8192, 4096, 2048, 1024, 512},
                                   .effective_batch = 8192,
                                   .checkpointing = plan::checkpointing_of(12),
                                   .optimizer_in_backward = {false, true}},
                                  cost_of, {.process = budget, .preferred = {.micro_batch = 8192}});
  fmt::print("{}", plan::text(found, {.gpu = gpu, .written = {.micro_batch = 8192}}, athanor::core::Terminal()));
  return found.chosen ? 0 : 1;
}
