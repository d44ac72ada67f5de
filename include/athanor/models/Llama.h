#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "athanor/nn/Blocks.h"
#include "athanor/nn/LinearCrossEntropy.h"

namespace athanor::models {

struct LlamaOptions {
  std::int64_t layers = 4;
  std::int64_t heads = 4;     ///< Of queries. Divides width; width / heads is even.
  std::int64_t kv_heads = 4;  ///< Of keys and values, each shared by heads / kv_heads queries. Divides heads.
  std::int64_t width = 128;   ///< Of the residual stream.
  std::int64_t mlp = 344;     ///< Width inside a block's feed-forward part.
  std::int64_t block = 64;    ///< The longest sequence.
  std::int64_t vocabulary = 256;
  double rope_base = 10000.0;  ///< Of the rotary positions' wave lengths; Llama 3 has 500,000.
  double rope_factor = 1.0;    ///< How much waves longer than a context of 8,192 are stretched; Llama 3.1 has 8.
  double epsilon = 1e-5;       ///< Of the norms.
  bool tied = false;           ///< The output layer is the token embedding.
};

/// A decoder after Touvron et al., "LLaMA", 2023, and "Llama 2", 2023: pre-norm blocks with RMSNorm (Zhang & Sennrich,
/// 2019), rotary positions (Su et al., 2021), grouped-query attention (Ainslie et al., 2023) and SwiGLU (Shazeer,
/// 2020). Norms and rotations are computed in fp32, whatever the parameters are. int64 [N, T] with T <= block -> [N, T,
/// vocabulary]. Parameters under Hugging Face's names, so that its weights load: model.embed_tokens.weight,
/// model.layers.I.{input_layernorm,post_attention_layernorm}.weight,
/// model.layers.I.self_attn.{q,k,v,o}_proj.weight, model.layers.I.mlp.{gate,up,down}_proj.weight, model.norm.weight,
/// and, unless tied, lm_head.weight.
class LlamaImpl : public torch::nn::Module, public nn::Blocks, public nn::HasLinearHead {
 public:
  /// Throws std::invalid_argument if widths and heads do not divide as they must.
  explicit LlamaImpl(LlamaOptions options);
  at::Tensor forward(at::Tensor tokens);

  /// What the output layer is applied to, [N, T, width], and that layer.
  at::Tensor features(const at::Tensor& tokens) override;
  [[nodiscard]] nn::LinearHead head() const override;

  [[nodiscard]] std::int64_t block_count() const override { return options_.layers; }
  [[nodiscard]] const LlamaOptions& options() const { return options_; }

 private:
  class Stack;
  LlamaOptions options_;
  std::vector<float> frequencies_;  // of a head's pairs, in radians a position
  std::shared_ptr<Stack> stack_;
  std::shared_ptr<torch::nn::LinearImpl> lm_head_;  // null where tied
};
TORCH_MODULE(Llama);

}  // namespace athanor::models
