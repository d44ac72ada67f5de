#pragma once
#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <string>

#include "athanor/data/Loader.h"
#include "athanor/models/Model.h"
#include "athanor/optim/Adam.h"
#include "athanor/train/Trainer.h"

namespace athanor::train::tiny {

/// A folder that goes with its owner.
struct Scratch {
  std::filesystem::path path;
  explicit Scratch(const std::string& name)
      : path(std::filesystem::temp_directory_path() / ("athanor-train-" + name + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Scratch() { std::filesystem::remove_all(path); }
};

/// 103 points in 4 dimensions and 3 classes: no batch size divides them evenly.
inline std::shared_ptr<data::TensorDataset> points(std::int64_t count = 103) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(5);
  const auto inputs = torch::randn({count, 4}, generator);
  const auto targets = (inputs.matmul(torch::randn({4, 3}, generator))).argmax(1);
  return std::make_shared<data::TensorDataset>(inputs, targets);
}

/// With batch norm and dropout: buffers that move and a random stream.
inline torch::nn::Sequential net() {
  torch::manual_seed(11);
  return torch::nn::Sequential(torch::nn::Linear(4, 16), torch::nn::BatchNorm1d(16), torch::nn::ReLU(),
                               torch::nn::Dropout(0.3), torch::nn::Linear(16, 3));
}

inline models::Model model_of(torch::nn::Sequential net) {
  models::Model model;
  model.module = net.ptr();
  model.forward = [net](at::Tensor inputs) mutable { return net->forward(std::move(inputs)); };
  return model;
}

inline data::Loader loader(std::int64_t batch_size = 16, bool shuffle = true) {
  return {points(), {.batch_size = batch_size, .shuffle = shuffle, .seed = 3}};
}

/// Whether two modules hold the same bits.
inline bool same_bits(const torch::nn::Module& a, const torch::nn::Module& b) {
  const auto one = a.parameters(), two = b.parameters();
  const auto buffers_one = a.buffers(), buffers_two = b.buffers();
  for (std::size_t i = 0; i < one.size(); ++i)
    if (!torch::equal(one[i], two[i])) return false;
  for (std::size_t i = 0; i < buffers_one.size(); ++i)
    if (!torch::equal(buffers_one[i], buffers_two[i])) return false;
  return true;
}

}  // namespace athanor::train::tiny
