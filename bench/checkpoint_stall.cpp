// What writing a checkpoint costs the training that goes on: 100 million parameters, steps on a batch of 64.
//   bench_checkpoint_stall FOLDER
// prints seconds: a step; a step while a checkpoint is written; of that, standing still for it; a write alone
#include <athanor/optim/SGD.h>
#include <athanor/train/Checkpoint.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <vector>

using namespace athanor;

namespace {

double seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path folder = argc > 1 ? argv[1] : "checkpoints";
  torch::manual_seed(1);
  torch::nn::Sequential net;
  for (int layer = 0; layer < 24; ++layer) net->push_back(torch::nn::Linear(2048, 2048));
  optim::SGD optimizer(net->parameters(), {.lr = 1e-4});
  const auto x = torch::randn({64, 2048});
  train::CheckpointFolder checkpoints(folder, {.keep_last = 1, .keep_best = 0});
  const auto write = [&](std::int64_t step) {
    store::NamedTensors weights;
    for (const auto& item : net->named_parameters()) weights.emplace_back(item.key(), item.value().detach());
    checkpoints.write({.step = step, .files = {{"model.safetensors", std::move(weights)}}});
  };
  double still = 0;  // of the last step
  const auto train_step = [&] {
    net->forward(x).pow(2).mean().backward();
    still += seconds([&] { checkpoints.wait_until_read(); });  // the update changes what is being written
    optimizer.step();
    optimizer.zero_grad();
  };
  train_step();
  std::vector<double> plain, writing, standing, alone;
  for (std::int64_t turn = 0; turn < 5; ++turn) {
    plain.push_back(seconds(train_step));
    writing.push_back(seconds([&] {
      still = seconds([&] { write(2 * turn); });
      train_step();
    }));
    standing.push_back(still);
    checkpoints.wait();
    alone.push_back(seconds([&] {
      write(2 * turn + 1);
      checkpoints.wait();
    }));
  }
  std::printf("%.4f %.4f %.4f %.4f\n", median(plain), median(writing), median(standing), median(alone));
}
