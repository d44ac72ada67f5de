#include "athanor/models/Cnn.h"

#include <ATen/ops/dropout.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/relu.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>

#include <stdexcept>

namespace athanor::models {
namespace {

class CnnStageImpl : public torch::nn::Module {
 public:
  CnnStageImpl(std::int64_t from, std::int64_t to, const CnnOptions& options)
      : conv_(register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(from, to, options.kernel)
                                                            .padding(options.kernel / 2)
                                                            .bias(!options.batch_norm)))) {
    if (options.batch_norm) norm_ = register_module("norm", torch::nn::BatchNorm2d(to));
  }

  // ReLU after the pooling: the same values as before it, on a quarter of the elements.
  at::Tensor forward(const at::Tensor& x) {
    auto y = conv_(x);
    if (norm_) y = norm_(y);
    return at::relu(at::max_pool2d(y, 2));
  }

 private:
  torch::nn::Conv2d conv_;
  torch::nn::BatchNorm2d norm_{nullptr};
};
TORCH_MODULE(CnnStage);

}  // namespace

CnnImpl::CnnImpl(CnnOptions options) : options_(std::move(options)) {
  if (options_.kernel % 2 == 0) throw std::invalid_argument("cnn: kernel must be odd");
  register_module("stages", stages_);
  std::int64_t width = options_.channels;
  std::int64_t side = options_.image;
  for (const auto next : options_.widths) {
    stages_->push_back(CnnStage(width, next, options_));
    width = next;
    side /= 2;
  }
  if (side == 0) throw std::invalid_argument("cnn: more stages in widths than the image can be halved");
  std::int64_t features = width * side * side;
  if (options_.hidden > 0) {
    hidden_ = register_module("hidden", torch::nn::Linear(features, options_.hidden));
    features = options_.hidden;
  }
  head_ = register_module("head", torch::nn::Linear(features, options_.classes));
}

at::Tensor CnnImpl::forward(at::Tensor x) {
  for (const auto& stage : *stages_) x = stage->as<CnnStageImpl>()->forward(x);
  x = x.flatten(1);
  const auto drop = [&] {
    if (options_.dropout > 0) x = at::dropout(x, options_.dropout, is_training());
  };
  if (hidden_) {
    drop();
    x = at::relu(hidden_(x));
  }
  drop();
  return head_(x);
}

}  // namespace athanor::models
