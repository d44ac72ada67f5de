#include "models/Transformer.h"

#include <ATen/ops/layer_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>

namespace athanor::models {

LayerNormImpl::LayerNormImpl(std::int64_t width, bool bias, double epsilon)
    : width_(width), epsilon_(epsilon), weight_(register_parameter("weight", at::ones({width}))) {
  if (bias) bias_ = register_parameter("bias", at::zeros({width}));
}

at::Tensor LayerNormImpl::forward(const at::Tensor& x) {
  return at::layer_norm(x, {width_}, weight_, bias_, epsilon_);
}

at::Tensor attention(const at::Tensor& queries_keys_values, std::int64_t heads, double dropout, bool causal) {
  const auto n = queries_keys_values.size(0);
  const auto t = queries_keys_values.size(1);
  const auto width = queries_keys_values.size(2) / 3;
  const auto parts = queries_keys_values.split(width, 2);
  const auto by_head = [&](const at::Tensor& x) { return x.view({n, t, heads, width / heads}).transpose(1, 2); };
  const auto y =
      at::scaled_dot_product_attention(by_head(parts[0]), by_head(parts[1]), by_head(parts[2]), {}, dropout, causal);
  return y.transpose(1, 2).contiguous().view({n, t, width});
}

}  // namespace athanor::models
