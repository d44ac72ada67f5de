#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace athanor::models {

/// A network as the rest of Athanor sees it: an ordinary torch::nn::Module and what calls its forward. Made from any
/// module holder (TORCH_MODULE) or shared_ptr to a module with `at::Tensor forward(at::Tensor)`. Cheap to copy; copies
/// share the module.
struct Model {
  std::shared_ptr<torch::nn::Module> module;
  std::function<at::Tensor(at::Tensor)> forward;

  /// What one sample must look like, without the batch dimension, and how many classes come out; empty and 0 where the
  /// model does not say. The built-in models say; `check_fits` compares them with the data.
  std::vector<std::int64_t> sample_shape = {};
  std::int64_t classes = 0;

  Model() = default;

  template <class Net>
  Model(torch::nn::ModuleHolder<Net> holder) : Model(holder.ptr()) {}  // NOLINT: a model is what it holds

  template <class Holder>
  requires requires(const Holder& holder) { typename Holder::ContainedType; }
  Model(const Holder& holder) : Model(holder.ptr()) {}  // NOLINT

  template <class Net>
  requires std::is_base_of_v<torch::nn::Module, Net> Model(std::shared_ptr<Net> net)  // NOLINT
      : module(net), forward([net](at::Tensor inputs) { return net->forward(std::move(inputs)); }) {}
};

/// Throws std::invalid_argument if the model and the data differ in the shape of a sample or have more classes than
/// outputs, and says which keys to set. A shape or count of nothing (empty, 0) fits all.
void check_fits(const Model& model, std::span<const std::int64_t> sample_shape, std::int64_t classes);

}  // namespace athanor::models
