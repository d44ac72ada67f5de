#include "athanor/models/Gpt.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/embedding.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "models/Transformer.h"

namespace athanor::models {
namespace {

using torch::nn::Linear;

constexpr double kEpsilon = 1e-5;

Linear linear(std::int64_t from, std::int64_t to, bool bias) {
  return Linear(torch::nn::LinearOptions(from, to).bias(bias));
}

class GptAttentionImpl : public torch::nn::Module {
 public:
  explicit GptAttentionImpl(const GptOptions& options)
      : heads_(options.heads),
        dropout_(options.dropout),
        c_attn_(register_module("c_attn", linear(options.width, 3 * options.width, options.bias))),
        c_proj_(register_module("c_proj", linear(options.width, options.width, options.bias))) {}

  at::Tensor forward(const at::Tensor& x) {
    return c_proj_(attention(c_attn_(x), heads_, is_training() ? dropout_ : 0.0, /*causal=*/true));
  }

 private:
  std::int64_t heads_;
  double dropout_;
  Linear c_attn_;
  Linear c_proj_;
};
TORCH_MODULE(GptAttention);

class GptMlpImpl : public torch::nn::Module {
 public:
  explicit GptMlpImpl(const GptOptions& options)
      : c_fc_(register_module("c_fc", linear(options.width, 4 * options.width, options.bias))),
        c_proj_(register_module("c_proj", linear(4 * options.width, options.width, options.bias))) {}

  at::Tensor forward(const at::Tensor& x) { return c_proj_(at::gelu(c_fc_(x))); }

 private:
  Linear c_fc_;
  Linear c_proj_;
};
TORCH_MODULE(GptMlp);

class GptBlockImpl : public torch::nn::Module {
 public:
  explicit GptBlockImpl(const GptOptions& options)
      : dropout_(options.dropout),
        ln_1_(register_module("ln_1", LayerNorm(options.width, options.bias, kEpsilon))),
        attn_(register_module("attn", GptAttention(options))),
        ln_2_(register_module("ln_2", LayerNorm(options.width, options.bias, kEpsilon))),
        mlp_(register_module("mlp", GptMlp(options))) {}

  at::Tensor forward(const at::Tensor& x) {
    const auto y = x + drop(attn_(ln_1_(x)));
    return y + drop(mlp_(ln_2_(y)));
  }

 private:
  [[nodiscard]] at::Tensor drop(const at::Tensor& x) const {
    return dropout_ > 0 ? at::dropout(x, dropout_, is_training()) : x;
  }

  double dropout_;
  LayerNorm ln_1_;
  GptAttention attn_;
  LayerNorm ln_2_;
  GptMlp mlp_;
};
TORCH_MODULE(GptBlock);

}  // namespace

class GptImpl::Stack : public torch::nn::Module {
 public:
  explicit Stack(const GptOptions& options)
      : wte(register_module("wte", torch::nn::Embedding(options.vocabulary, options.width))),
        wpe(register_module("wpe", torch::nn::Embedding(options.block, options.width))),
        h(register_module("h", torch::nn::ModuleList())),
        ln_f(register_module("ln_f", LayerNorm(options.width, options.bias, kEpsilon))) {
    for (std::int64_t i = 0; i < options.layers; ++i) {
      blocks.emplace_back(options);
      h->push_back(blocks.back());
    }
  }

  torch::nn::Embedding wte;
  torch::nn::Embedding wpe;
  torch::nn::ModuleList h;
  std::vector<GptBlock> blocks;  // what h holds, with their type
  LayerNorm ln_f;
};

GptImpl::GptImpl(GptOptions options) : options_(options) {
  if (options.heads < 1 || options.width % options.heads != 0)
    throw std::invalid_argument("gpt: width must be divisible by heads");
  stack_ = register_module("transformer", std::make_shared<Stack>(options));
  // GPT-2's first weights: narrow, and narrower still where a branch joins the residual stream, of which there are two
  // a layer.
  const double joining = 0.02 / std::sqrt(2.0 * static_cast<double>(options.layers));
  const torch::NoGradGuard no_grad;
  for (auto& parameter : named_parameters()) {
    if (parameter.key().ends_with("bias")) parameter.value().zero_();
    if (parameter.value().dim() != 2) continue;
    parameter.value().normal_(0.0, parameter.key().ends_with("c_proj.weight") ? joining : 0.02);
  }
}

at::Tensor GptImpl::features(const at::Tensor& tokens) {
  const auto length = tokens.size(1);
  TORCH_CHECK(length <= options_.block, "gpt: a sequence of ", length, " is longer than block = ", options_.block);
  auto x = stack_->wte(tokens) + stack_->wpe(at::arange(length, tokens.options().dtype(at::kLong)));
  if (options_.dropout > 0) x = at::dropout(x, options_.dropout, is_training());
  for (std::int64_t i = 0; i < block_count(); ++i) x = run_block(i, stack_->blocks[static_cast<std::size_t>(i)], x);
  return stack_->ln_f(x);
}

nn::LinearHead GptImpl::head() const {
  return {.weight = stack_->wte->weight, .bias = {}};
}

at::Tensor GptImpl::forward(at::Tensor tokens) {
  return at::linear(features(tokens), stack_->wte->weight);
}

}  // namespace athanor::models
