#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

// The language model of Stanford's CS336 as its students run it in Python, written so that every tensor is made and
// dropped in the order in which Python makes and drops it: a name there lives until it is rebound or its function ends,
// an unnamed value until the operation that takes it is done.
namespace athanor::test {

struct TransformerShape {
  std::int64_t context, width, hidden, layers, heads, vocabulary = 10000;
};

class TransformerLm {
 public:
  TransformerLm(const TransformerShape& shape, torch::Device device);

  at::Tensor forward(const at::Tensor& tokens) const;
  /// One step of the course's AdamW.
  void adamw();
  void zero_grad();
  [[nodiscard]] const std::vector<at::Tensor>& parameters() const { return parameters_; }

 private:
  struct Layer {
    at::Tensor query, key, value, output, gate, down, up, norm1, norm2;
  };
  struct Moments {
    at::Tensor first, second;
  };
  [[nodiscard]] at::Tensor attention(const Layer& layer, const at::Tensor& x) const;
  [[nodiscard]] at::Tensor block(const Layer& layer, const at::Tensor& x) const;

  TransformerShape shape_;
  at::Tensor embedding_, rotation_, last_norm_, head_;
  std::vector<Layer> layers_;
  std::vector<at::Tensor> parameters_;
  std::unordered_map<const void*, Moments> moments_;
};

at::Tensor lm_cross_entropy(const at::Tensor& logits, const at::Tensor& targets);

}  // namespace athanor::test
