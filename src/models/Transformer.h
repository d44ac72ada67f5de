#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <cstdint>

namespace athanor::models {

/// Layer norm over the last dimension, with or without bias (LibTorch's own has both or none). Parameters: weight,
/// bias.
class LayerNormImpl : public torch::nn::Module {
 public:
  LayerNormImpl(std::int64_t width, bool bias, double epsilon);
  at::Tensor forward(const at::Tensor& x);

 private:
  std::int64_t width_;
  double epsilon_;
  at::Tensor weight_;
  at::Tensor bias_;
};
TORCH_MODULE(LayerNorm);

/// softmax(q·kᵀ/√d)·v for queries, keys and values that lie side by side in the last dimension: [N, T, 3·width] ->
/// [N, T, width].
at::Tensor attention(const at::Tensor& queries_keys_values, std::int64_t heads, double dropout, bool causal);

}  // namespace athanor::models
