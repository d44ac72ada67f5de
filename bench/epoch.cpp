// One epoch of Fashion-MNIST with an MLP 784-256-10, batch 128, AdamW, in plain C++; prints its seconds.
//   bench_epoch bare      a loop by hand that gathers each batch with index_select
//   bench_epoch sliced    the same without gathering: batches are slices in order
//   bench_epoch loader    the same loop with our loader
#include <torch/torch.h>

#include <chrono>
#include <functional>
#include <iostream>

#include "athanor/data/Idx.h"
#include "athanor/data/ImageDataset.h"
#include "athanor/data/Loader.h"

namespace {

using namespace athanor;

constexpr std::int64_t kBatch = 128;

struct Net : torch::nn::Module {
  torch::nn::Linear first = register_module("first", torch::nn::Linear(784, 256));
  torch::nn::Linear second = register_module("second", torch::nn::Linear(256, 10));
  at::Tensor forward(const at::Tensor& x) { return second(torch::relu(first(x.flatten(1)))); }
};

// Calls `batches` with what a batch is to be trained on.
double epoch(const std::function<void(const std::function<void(at::Tensor, at::Tensor)>&)>& batches) {
  torch::manual_seed(17);
  Net net;
  torch::optim::AdamW optimizer(net.parameters(), torch::optim::AdamWOptions(1e-3));
  const auto start = std::chrono::steady_clock::now();
  batches([&](const at::Tensor& x, const at::Tensor& y) {
    const auto loss = torch::nn::functional::cross_entropy(net.forward(x), y);
    loss.backward();
    optimizer.step();
    optimizer.zero_grad();
  });
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "bare";
  const std::filesystem::path folder = "/usr/share/datasets/fashion-mnist";
  const auto images = data::read_idx(folder / "train-images-idx3-ubyte.gz").unsqueeze(1);
  const auto labels = data::read_idx(folder / "train-labels-idx1-ubyte.gz").to(torch::kLong);
  const auto n = images.size(0);
  if (what == "loader") {
    data::Loader loader(std::make_shared<data::ImageDataset>(images, labels, data::Normalisation{{0.2860}, {0.3530}}),
                        {.batch_size = kBatch, .seed = 17});
    std::cout << epoch([&](const auto& step) {
      loader.start_epoch(0);
      while (const auto batch = loader.next()) step(batch->inputs, batch->targets);
    }) << '\n';
    return 0;
  }
  const auto floats = images.to(torch::kFloat).div(255).sub(0.2860).div(0.3530);
  std::cout << epoch([&](const auto& step) {
    const auto order = torch::randperm(n);
    for (std::int64_t at = 0; at < n; at += kBatch) {
      const auto end = std::min(at + kBatch, n);
      if (what == "sliced") {
        step(floats.slice(0, at, end), labels.slice(0, at, end));
      } else {
        const auto rows = order.slice(0, at, end);
        step(floats.index_select(0, rows), labels.index_select(0, rows));
      }
    }
  }) << '\n';
}
