#pragma once
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <memory>

#include "athanor/nn/Blocks.h"
#include "athanor/nn/LinearCrossEntropy.h"

namespace athanor::models {

struct GptOptions {
  std::int64_t layers = 4;
  std::int64_t heads = 4;
  std::int64_t width = 128;       ///< Divisible by heads.
  std::int64_t block = 64;        ///< The longest sequence: positions are learned.
  std::int64_t vocabulary = 256;  ///< 256 for bytes.
  double dropout = 0.0;           ///< On embeddings, attention and both residual branches.
  bool bias = false;              ///< In linear layers and layer norms.
};

/// A decoder of pre-norm transformer blocks after Radford et al., "Language Models are Unsupervised Multitask
/// Learners", 2019 (GPT-2), whose output layer is the token embedding itself. int64 [N, T] with T <= block -> [N, T,
/// vocabulary]. Parameters: transformer.{wte,wpe}.weight,
/// transformer.h.I.{ln_1,attn.c_attn,attn.c_proj,ln_2,mlp.c_fc,mlp.c_proj}.*, transformer.ln_f.*: nanoGPT's names, with
/// its lm_head.weight being transformer.wte.weight.
class GptImpl : public torch::nn::Module, public nn::Blocks, public nn::HasLinearHead {
 public:
  /// Throws std::invalid_argument if width is not divisible by heads.
  explicit GptImpl(GptOptions options);
  at::Tensor forward(at::Tensor tokens);

  /// What the output layer is applied to, [N, T, width], and that layer: for a loss that never holds all logits.
  at::Tensor features(const at::Tensor& tokens) override;
  [[nodiscard]] nn::LinearHead head() const override;

  [[nodiscard]] std::int64_t block_count() const override { return options_.layers; }
  [[nodiscard]] const GptOptions& options() const { return options_; }

 private:
  class Stack;
  GptOptions options_;
  std::shared_ptr<Stack> stack_;
};
TORCH_MODULE(Gpt);

}  // namespace athanor::models
