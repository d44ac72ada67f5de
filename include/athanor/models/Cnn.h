#pragma once
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <vector>

namespace athanor::models {

struct CnnOptions {
  std::int64_t channels = 1;  ///< Of the image.
  std::int64_t image = 28;    ///< Height and width.
  std::int64_t classes = 10;
  std::vector<std::int64_t> widths = {32, 64};  ///< Output channels of each stage; each stage halves the image.
  std::int64_t kernel = 3;                      ///< Odd.
  std::int64_t hidden = 128;                    ///< Width of the layer before the last; 0: none.
  bool batch_norm = true;                       ///< Between convolution and ReLU; the convolution then has no bias.
  double dropout = 0.0;                         ///< Before each linear layer.
};

/// Stages of convolution, batch norm, ReLU and 2×2 max-pooling, then one or two linear layers.
/// [N, channels, image, image] -> [N, classes]. Parameters: stages.I.{conv,norm}.*, hidden.*, head.*.
class CnnImpl : public torch::nn::Module {
 public:
  explicit CnnImpl(CnnOptions options);
  at::Tensor forward(at::Tensor x);

 private:
  CnnOptions options_;
  torch::nn::ModuleList stages_;
  torch::nn::Linear hidden_{nullptr};
  torch::nn::Linear head_{nullptr};
};
TORCH_MODULE(Cnn);

}  // namespace athanor::models
