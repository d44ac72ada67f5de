#include "athanor/models/Llama.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>
#include <c10/core/ScalarType.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <vector>

namespace athanor::models {
namespace {

using torch::nn::Linear;

Linear without_bias(std::int64_t from, std::int64_t to) {
  return Linear(torch::nn::LinearOptions(from, to).bias(false));
}

at::Tensor at_least_fp32(const at::Tensor& x) {
  return x.to(c10::promoteTypes(x.scalar_type(), at::kFloat));
}

class RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(std::int64_t width, double epsilon)
      : epsilon_(epsilon), weight_(register_parameter("weight", at::ones({width}))) {}

  at::Tensor forward(const at::Tensor& x) {
    const auto y = at_least_fp32(x);
    return (y * at::rsqrt(y.pow(2).mean(-1, /*keepdim=*/true) + epsilon_)).to(x.scalar_type()) * weight_;
  }

 private:
  double epsilon_;
  at::Tensor weight_;
};
TORCH_MODULE(RmsNorm);

/// Radians a position that each pair of a head turns by. With rope_factor > 1 waves that are longer than the context
/// first trained on are stretched by it, those under a quarter of that are kept, and between them the two are blended.
/// Source: Dubey et al., "The Llama 3 Herd of Models", 2024, and Meta's published code for Llama 3.1.
std::vector<float> frequencies_of(const LlamaOptions& options) {
  constexpr double first_context = 8192, shortest_blended = first_context / 4;
  const auto head_width = options.width / options.heads;
  std::vector<float> frequencies;
  for (std::int64_t i = 0; i < head_width; i += 2) {
    const double frequency = std::pow(options.rope_base, -static_cast<double>(i) / static_cast<double>(head_width));
    const double wave = 2 * std::numbers::pi / frequency;
    const double kept = std::clamp((first_context / wave - 1) / (first_context / shortest_blended - 1), 0.0, 1.0);
    frequencies.push_back(static_cast<float>(frequency * (kept + (1 - kept) / options.rope_factor)));
  }
  return frequencies;
}

/// Cosines and sines of every position's angles, [T, 1, width of a head / 2] each.
struct Rotation {
  at::Tensor cosines, sines;
};

Rotation rotation(std::int64_t length, const std::vector<float>& frequencies, const at::TensorOptions& on) {
  const auto in_fp32 = on.dtype(at::kFloat);
  const auto angles = at::outer(at::arange(length, in_fp32), at::tensor(frequencies, in_fp32)).unsqueeze_(1);
  return {angles.cos(), angles.sin()};
}

// [N, T, heads, width]: element i of the first half turns with element i of the second, as in Hugging Face's weights.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cosines, const at::Tensor& sines) {
  const auto halves = at_least_fp32(x).chunk(2, -1);
  const auto &a = halves[0], &b = halves[1];
  return at::cat({a * cosines - b * sines, b * cosines + a * sines}, -1).to(x.scalar_type());
}

class LlamaAttentionImpl : public torch::nn::Module {
 public:
  explicit LlamaAttentionImpl(const LlamaOptions& options)
      : heads_(options.heads),
        kv_heads_(options.kv_heads),
        head_width_(options.width / options.heads),
        q_proj_(register_module("q_proj", without_bias(options.width, options.width))),
        k_proj_(register_module("k_proj", without_bias(options.width, kv_heads_ * head_width_))),
        v_proj_(register_module("v_proj", without_bias(options.width, kv_heads_ * head_width_))),
        o_proj_(register_module("o_proj", without_bias(options.width, options.width))) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& cosines, const at::Tensor& sines) {
    const auto n = x.size(0), t = x.size(1);
    const auto by_head = [&](const at::Tensor& y) { return y.view({n, t, -1, head_width_}); };
    const auto q = rotate(by_head(q_proj_(x)), cosines, sines).transpose(1, 2);
    const auto k = for_every_query(rotate(by_head(k_proj_(x)), cosines, sines).transpose(1, 2));
    const auto v = for_every_query(by_head(v_proj_(x)).transpose(1, 2));
    const auto y = at::scaled_dot_product_attention(q, k, v, {}, /*dropout_p=*/0.0, /*is_causal=*/true);
    return o_proj_(y.transpose(1, 2).reshape({n, t, heads_ * head_width_}));
  }

 private:
  // [N, kv_heads, T, width] -> [N, heads, T, width]
  [[nodiscard]] at::Tensor for_every_query(const at::Tensor& x) const {
    if (kv_heads_ == heads_) return x;
    return x.unsqueeze(2).expand({-1, -1, heads_ / kv_heads_, -1, -1}).flatten(1, 2);
  }

  std::int64_t heads_, kv_heads_, head_width_;
  Linear q_proj_, k_proj_, v_proj_, o_proj_;
};
TORCH_MODULE(LlamaAttention);

class LlamaMlpImpl : public torch::nn::Module {
 public:
  LlamaMlpImpl(std::int64_t width, std::int64_t inside)
      : gate_proj_(register_module("gate_proj", without_bias(width, inside))),
        up_proj_(register_module("up_proj", without_bias(width, inside))),
        down_proj_(register_module("down_proj", without_bias(inside, width))) {}

  at::Tensor forward(const at::Tensor& x) { return down_proj_(at::silu(gate_proj_(x)) * up_proj_(x)); }

 private:
  Linear gate_proj_, up_proj_, down_proj_;
};
TORCH_MODULE(LlamaMlp);

class LlamaBlockImpl : public torch::nn::Module {
 public:
  explicit LlamaBlockImpl(const LlamaOptions& options)
      : input_norm_(register_module("input_layernorm", RmsNorm(options.width, options.epsilon))),
        attention_(register_module("self_attn", LlamaAttention(options))),
        mlp_norm_(register_module("post_attention_layernorm", RmsNorm(options.width, options.epsilon))),
        mlp_(register_module("mlp", LlamaMlp(options.width, options.mlp))) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& cosines, const at::Tensor& sines) {
    const auto y = x + attention_(input_norm_(x), cosines, sines);
    return y + mlp_(mlp_norm_(y));
  }

 private:
  RmsNorm input_norm_;
  LlamaAttention attention_;
  RmsNorm mlp_norm_;
  LlamaMlp mlp_;
};
TORCH_MODULE(LlamaBlock);

void check_sizes(const LlamaOptions& options) {
  if (options.heads < 1 || options.width % options.heads != 0 || options.width / options.heads % 2 != 0)
    throw std::invalid_argument("llama: width must be divisible by heads, and width / heads by 2");
  if (options.kv_heads < 1 || options.heads % options.kv_heads != 0)
    throw std::invalid_argument("llama: heads must be divisible by kv_heads");
  if (!(options.rope_base > 0) || !(options.rope_factor >= 1))
    throw std::invalid_argument("llama: rope_base must be > 0 and rope_factor >= 1");
}

}  // namespace

class LlamaImpl::Stack : public torch::nn::Module {
 public:
  explicit Stack(const LlamaOptions& options)
      : embed_tokens(register_module("embed_tokens", torch::nn::Embedding(options.vocabulary, options.width))),
        layers(register_module("layers", torch::nn::ModuleList())),
        norm(register_module("norm", RmsNorm(options.width, options.epsilon))) {
    for (std::int64_t i = 0; i < options.layers; ++i) {
      blocks.emplace_back(options);
      layers->push_back(blocks.back());
    }
  }

  torch::nn::Embedding embed_tokens;
  torch::nn::ModuleList layers;
  std::vector<LlamaBlock> blocks;  // what layers holds, with their type
  RmsNorm norm;
};

LlamaImpl::LlamaImpl(LlamaOptions options) : options_(options) {
  check_sizes(options);
  frequencies_ = frequencies_of(options);
  stack_ = register_module("model", std::make_shared<Stack>(options));
  if (!options.tied) lm_head_ = register_module("lm_head", without_bias(options.width, options.vocabulary).ptr());
  const torch::NoGradGuard no_grad;
  for (auto& parameter : parameters())
    if (parameter.dim() == 2) parameter.normal_(0.0, 0.02);
}

at::Tensor LlamaImpl::features(const at::Tensor& tokens) {
  const auto length = tokens.size(1);
  TORCH_CHECK(length <= options_.block, "llama: a sequence of ", length, " is longer than block = ", options_.block);
  auto x = stack_->embed_tokens(tokens);
  const auto turns = rotation(length, frequencies_, tokens.options());
  for (std::int64_t i = 0; i < block_count(); ++i)
    x = run_block(i, stack_->blocks[static_cast<std::size_t>(i)], x, turns.cosines, turns.sines);
  return stack_->norm(x);
}

nn::LinearHead LlamaImpl::head() const {
  return {.weight = lm_head_ ? lm_head_->weight : stack_->embed_tokens->weight, .bias = {}};
}

at::Tensor LlamaImpl::forward(at::Tensor tokens) {
  return at::linear(features(tokens), head().weight);
}

}  // namespace athanor::models
