#pragma once
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "athanor/nn/Blocks.h"

namespace athanor::models {

struct ResnetOptions {
  std::int64_t depth = 18;    ///< 18, 34, 50, 101, 152: for large images; 20, 32, 44, 56, 110: for small ones (CIFAR).
  std::int64_t channels = 3;  ///< Of the image.
  std::int64_t classes = 10;
};

class ResnetBlockImpl;

/// Residual networks after He et al., "Deep Residual Learning for Image Recognition", 2015: the ImageNet ones of its
/// table 1 (stride of a bottleneck in its 3×3 convolution, as torchvision does), and the CIFAR ones of its section 4.2
/// with shortcuts that have no parameters. [N, channels, H, W] -> [N, classes], any H and W.
/// Parameters are named as torchvision's: conv1, bn1, layerS.I.{convJ,bnJ,downsample.{0,1}}, fc.
class ResnetImpl : public torch::nn::Module, public nn::Blocks {
 public:
  /// Throws std::invalid_argument for a depth that is none of the above.
  explicit ResnetImpl(ResnetOptions options);
  at::Tensor forward(at::Tensor x);
  [[nodiscard]] std::int64_t block_count() const override { return std::ssize(blocks_); }

 private:
  bool small_;
  torch::nn::Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::vector<std::shared_ptr<ResnetBlockImpl>> blocks_;
  torch::nn::Linear fc_{nullptr};
};
TORCH_MODULE(Resnet);

}  // namespace athanor::models
