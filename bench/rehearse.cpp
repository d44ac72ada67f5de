// What rehearsing costs: milliseconds for a steady step of GPT-2 small (8×1024) and ResNet-50 (32×224²), fp32, AdamW.
#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "athanor/core/Config.h"
#include "athanor/models/Registry.h"
#include "athanor/rehearse/Rehearse.h"

namespace {

using namespace athanor;

constexpr int steps = 12;
constexpr int warm_up = 2;

double median_step(const char* table, const std::vector<std::int64_t>& input, bool tokens) {
  std::vector<double> milliseconds;
  rehearse::rehearse({.gpu = "A100 80GB", .steps = steps}, [&](torch::Device device, rehearse::Stage& stage) {
    models::Model model;
    {
      const auto guard = stage.without_host_memory();
      model = models::Registry::builtin().make(core::Config::from_text(table, "bench"));
    }
    model.module->to(device);
    stage.watch(*model.module);
    torch::optim::AdamW optimizer(model.module->parameters(), torch::optim::AdamWOptions(1e-3));
    const auto integers = torch::TensorOptions().dtype(torch::kLong).device(device);
    while (stage.next_step()) {
      const auto start = std::chrono::steady_clock::now();
      const auto x = tokens ? torch::empty(input, integers) : torch::empty(input, device);
      const auto y = tokens ? torch::empty(input, integers) : torch::empty({input[0]}, integers);
      optimizer.zero_grad();
      auto logits = model.forward(x);
      if (tokens) logits = logits.view({-1, logits.size(-1)});
      auto loss = torch::nn::functional::cross_entropy(logits, y.view({-1}));
      loss.backward();
      optimizer.step();
      const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
      if (stage.step() > warm_up) milliseconds.push_back(took.count());
    }
  });
  std::sort(milliseconds.begin(), milliseconds.end());
  return milliseconds[milliseconds.size() / 2];
}

}  // namespace

int main() {
  const auto gpt = median_step("kind = 'gpt'\nlayers = 12\nheads = 12\nwidth = 768\nblock = 1024\nvocabulary = 50257\n",
                               {8, 1024}, true);
  const auto resnet = median_step("kind = 'resnet'\ndepth = 50\nclasses = 1000\n", {32, 3, 224, 224}, false);
  fmt::print("{{\"gpt2\": {}, \"resnet50\": {}}}\n", gpt, resnet);
  return 0;
}
