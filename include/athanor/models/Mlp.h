#pragma once
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <vector>

#include "athanor/models/Activation.h"

namespace athanor::models {

struct MlpOptions {
  std::int64_t inputs = 784;                 ///< Numbers in one sample; a sample of any shape is flattened.
  std::vector<std::int64_t> hidden = {256};  ///< Width of each hidden layer; none: a linear model.
  std::int64_t classes = 10;
  Activation activation = Activation::relu;
  double dropout = 0.0;  ///< After each activation.
};

/// Layers of Linear, activation, dropout; the last one linear. [N, …] -> [N, classes].
/// Parameters: layers.I.{weight,bias}.
class MlpImpl : public torch::nn::Module {
 public:
  explicit MlpImpl(MlpOptions options);
  at::Tensor forward(at::Tensor x);

 private:
  MlpOptions options_;
  torch::nn::ModuleList layers_;
};
TORCH_MODULE(Mlp);

}  // namespace athanor::models
