#include "athanor/models/Vit.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/conv.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "models/Transformer.h"

namespace athanor::models {
namespace {

using torch::nn::Linear;

constexpr double kEpsilon = 1e-6;

// Holds children under the names that torchvision's containers give them.
class Container : public torch::nn::Module {};

class VitAttentionImpl : public torch::nn::Module {
 public:
  VitAttentionImpl(std::int64_t width, std::int64_t heads)
      : heads_(heads),
        in_proj_weight_(register_parameter("in_proj_weight", at::empty({3 * width, width}))),
        in_proj_bias_(register_parameter("in_proj_bias", at::zeros({3 * width}))),
        out_proj_(register_module("out_proj", Linear(width, width))) {
    torch::nn::init::xavier_uniform_(in_proj_weight_);
    torch::nn::init::zeros_(out_proj_->bias);
  }

  at::Tensor forward(const at::Tensor& x) {
    return out_proj_(attention(at::linear(x, in_proj_weight_, in_proj_bias_), heads_, 0.0, /*causal=*/false));
  }

 private:
  std::int64_t heads_;
  at::Tensor in_proj_weight_;
  at::Tensor in_proj_bias_;
  Linear out_proj_;
};
TORCH_MODULE(VitAttention);

class VitBlockImpl : public torch::nn::Module {
 public:
  explicit VitBlockImpl(const VitOptions& options)
      : dropout_(options.dropout),
        ln_1_(register_module("ln_1", LayerNorm(options.width, true, kEpsilon))),
        attention_(register_module("self_attention", VitAttention(options.width, options.heads))),
        ln_2_(register_module("ln_2", LayerNorm(options.width, true, kEpsilon))),
        widen_(Linear(options.width, options.mlp)),
        narrow_(Linear(options.mlp, options.width)) {
    auto mlp = register_module("mlp", std::make_shared<Container>());
    mlp->register_module("0", widen_);
    mlp->register_module("3", narrow_);
    for (auto* layer : {&widen_, &narrow_}) {
      torch::nn::init::xavier_uniform_((*layer)->weight);
      torch::nn::init::normal_((*layer)->bias, 0.0, 1e-6);
    }
  }

  at::Tensor forward(const at::Tensor& x) {
    const auto y = x + drop(attention_(ln_1_(x)));
    return y + drop(narrow_(drop(at::gelu(widen_(ln_2_(y))))));
  }

 private:
  [[nodiscard]] at::Tensor drop(const at::Tensor& x) const {
    return dropout_ > 0 ? at::dropout(x, dropout_, is_training()) : x;
  }

  double dropout_;
  LayerNorm ln_1_;
  VitAttention attention_;
  LayerNorm ln_2_;
  Linear widen_;
  Linear narrow_;
};
TORCH_MODULE(VitBlock);

}  // namespace

struct VitImpl::Parts {
  torch::nn::Conv2d conv_proj{nullptr};
  at::Tensor class_token;
  at::Tensor pos_embedding;
  std::vector<VitBlock> layers;
  LayerNorm ln{nullptr};
  Linear head{nullptr};
};

VitImpl::VitImpl(VitOptions options) : options_(options), parts_(std::make_shared<Parts>()) {
  if (options.patch < 1 || options.image % options.patch != 0)
    throw std::invalid_argument("vit: image must be divisible by patch");
  if (options.heads < 1 || options.width % options.heads != 0)
    throw std::invalid_argument("vit: width must be divisible by heads");
  auto& parts = *parts_;
  const auto side = options.image / options.patch;
  parts.class_token = register_parameter("class_token", at::zeros({1, 1, options.width}));
  parts.conv_proj = register_module(
      "conv_proj", torch::nn::Conv2d(
                       torch::nn::Conv2dOptions(options.channels, options.width, options.patch).stride(options.patch)));
  auto encoder = register_module("encoder", std::make_shared<Container>());
  parts.pos_embedding = encoder->register_parameter(
      "pos_embedding", torch::nn::init::normal_(at::empty({1, side * side + 1, options.width}), 0.0, 0.02));
  auto layers = encoder->register_module("layers", std::make_shared<Container>());
  for (std::int64_t i = 0; i < options.layers; ++i)
    parts.layers.push_back(layers->register_module("encoder_layer_" + std::to_string(i), VitBlock(options)));
  parts.ln = encoder->register_module("ln", LayerNorm(options.width, true, kEpsilon));
  auto heads = register_module("heads", std::make_shared<Container>());
  parts.head = heads->register_module("head", Linear(options.width, options.classes));
  // The first weights that torchvision's model draws.
  const auto fan_in = static_cast<double>(options.channels * options.patch * options.patch);
  torch::nn::init::normal_(parts.conv_proj->weight, 0.0, std::sqrt(1.0 / fan_in));
  torch::nn::init::zeros_(parts.conv_proj->bias);
  torch::nn::init::zeros_(parts.head->weight);
  torch::nn::init::zeros_(parts.head->bias);
}

at::Tensor VitImpl::forward(at::Tensor x) {
  auto& parts = *parts_;
  const auto patches = parts.conv_proj(x).flatten(2).transpose(1, 2);
  x = at::cat({parts.class_token.expand({x.size(0), -1, -1}), patches}, 1) + parts.pos_embedding;
  if (options_.dropout > 0) x = at::dropout(x, options_.dropout, is_training());
  for (std::int64_t i = 0; i < block_count(); ++i) x = run_block(i, parts.layers[static_cast<std::size_t>(i)], x);
  return parts.head(parts.ln(x).select(1, 0));
}

}  // namespace athanor::models
