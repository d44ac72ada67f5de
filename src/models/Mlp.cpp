#include "athanor/models/Mlp.h"

#include <ATen/ops/dropout.h>
#include <torch/nn/modules/linear.h>

namespace athanor::models {

MlpImpl::MlpImpl(MlpOptions options) : options_(std::move(options)) {
  register_module("layers", layers_);
  std::int64_t width = options_.inputs;
  for (const auto next : options_.hidden) {
    layers_->push_back(torch::nn::Linear(width, next));
    width = next;
  }
  layers_->push_back(torch::nn::Linear(width, options_.classes));
}

at::Tensor MlpImpl::forward(at::Tensor x) {
  x = x.flatten(1);
  for (std::size_t i = 0; i < layers_->size(); ++i) {
    x = layers_[i]->as<torch::nn::Linear>()->forward(x);
    if (i + 1 == layers_->size()) break;
    x = activate(options_.activation, x);
    if (options_.dropout > 0) x = at::dropout(x, options_.dropout, is_training());
  }
  return x;
}

}  // namespace athanor::models
