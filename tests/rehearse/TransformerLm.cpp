#include "rehearse/TransformerLm.h"

#include <cmath>
#include <limits>

namespace athanor::test {
namespace {

at::Tensor project(const at::Tensor& x, const at::Tensor& weight) {
  return at::einsum("...a,ba->...b", {x, weight});
}

at::Tensor plain_rms_norm(at::Tensor x, const at::Tensor& weight) {
  const auto dtype = x.scalar_type();
  x = x.to(torch::kFloat32);
  auto value = x.pow(2);
  value = value.mean(-1, true);
  value = value + 1e-5;
  const auto scale = torch::rsqrt(value);
  value.reset();
  x = x * scale;
  auto scaled = weight * x;
  return scaled.to(dtype);
}

at::Tensor plain_silu(const at::Tensor& x) {
  const auto gate = torch::sigmoid(x);
  return x * gate;
}

at::Tensor row_maximum(const at::Tensor& x) {
  return std::get<0>(torch::max(x, -1, true));
}

at::Tensor plain_softmax(const at::Tensor& x) {
  auto most = row_maximum(x);
  const auto rescaled = x - most;
  most.reset();
  const auto exponentiated = torch::exp(rescaled);
  const auto total = torch::sum(exponentiated, -1, true);
  return exponentiated / total;
}

at::Tensor plain_log_softmax(at::Tensor x) {
  const auto most = row_maximum(x);
  x = x - most;
  auto value = torch::exp(x);
  value = torch::sum(value, -1, true);
  value = torch::log(value);
  return x - value;
}

at::Tensor split_heads(const at::Tensor& x, std::int64_t heads) {
  return x.reshape({x.size(0), x.size(1), heads, x.size(2) / heads}).permute({0, 2, 1, 3});
}

// Rotates pairs of features by an angle that depends on the position.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& table) {
  auto sizes = x.sizes().vec();
  sizes.back() /= 2;
  sizes.push_back(2);
  const auto halves = x.reshape(sizes).permute({4, 0, 1, 2, 3}).unbind(0);
  const auto angles = table.slice(1, 0, x.size(-2)).unbind(0);
  const auto rotated = [&](const at::Tensor& a, const at::Tensor& b, bool minus) {
    const auto left = a * halves[0];
    const auto right = b * halves[1];
    return minus ? left - right : left + right;
  };
  const auto first = rotated(angles[0], angles[1], true);
  const auto second = rotated(angles[1], angles[0], false);
  return torch::concat({first, second}, -1);
}

at::Tensor attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& mask) {
  auto scores = at::einsum("...ab,...cb->...ac", {query, key});
  scores = scores / std::sqrt(static_cast<double>(key.size(-1)));
  scores = torch::where(mask, scores, -std::numeric_limits<double>::infinity());
  const auto weights = plain_softmax(scores);
  return at::einsum("...ab,...bc->...ac", {weights, value});
}

}  // namespace

TransformerLm::TransformerLm(const TransformerShape& shape, torch::Device device) : shape_(shape) {
  const auto parameter = [&](std::int64_t rows, std::int64_t columns) {
    auto tensor = columns > 0 ? torch::empty({rows, columns}, device) : torch::empty({rows}, device);
    return tensor.set_requires_grad(true);
  };
  const auto width = shape.width;
  embedding_ = parameter(shape.vocabulary, width);
  rotation_ = torch::empty({2, shape.context, width / shape.heads / 2}, device);
  parameters_.push_back(embedding_);
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    Layer layer;
    for (auto* weight : {&layer.query, &layer.key, &layer.value, &layer.output}) *weight = parameter(width, width);
    layer.gate = parameter(shape.hidden, width);
    layer.down = parameter(width, shape.hidden);
    layer.up = parameter(shape.hidden, width);
    layer.norm1 = parameter(width, 0);
    layer.norm2 = parameter(width, 0);
    for (const auto& weight : {layer.query, layer.key, layer.value, layer.output, layer.gate, layer.down, layer.up,
                               layer.norm1, layer.norm2})
      parameters_.push_back(weight);
    layers_.push_back(layer);
  }
  last_norm_ = parameter(width, 0);
  head_ = parameter(shape.vocabulary, width);
  parameters_.push_back(last_norm_);
  parameters_.push_back(head_);
}

at::Tensor TransformerLm::attention(const Layer& layer, const at::Tensor& x) const {
  auto query = project(x, layer.query);
  auto key = project(x, layer.key);
  auto value = project(x, layer.value);
  query = split_heads(query, shape_.heads);
  key = split_heads(key, shape_.heads);
  value = split_heads(value, shape_.heads);
  query = rotate(query, rotation_);
  key = rotate(key, rotation_);
  const auto places = torch::arange(x.size(1), x.options().dtype(torch::kLong));
  auto mask = places.unsqueeze(1) >= places.unsqueeze(0);
  mask = mask.unsqueeze(0);
  auto result = attend(query, key, value, mask);
  result = result.permute({0, 2, 1, 3}).reshape({x.size(0), x.size(1), shape_.width}).contiguous();
  return project(result, layer.output);
}

at::Tensor TransformerLm::block(const Layer& layer, const at::Tensor& x) const {
  auto normed = plain_rms_norm(x, layer.norm1);
  const auto attended = attention(layer, normed);
  normed.reset();
  const auto middle = x + attended;
  normed = plain_rms_norm(middle, layer.norm2);
  at::Tensor fed;
  {
    auto gate = project(normed, layer.gate);
    gate = plain_silu(gate);
    auto up = project(normed, layer.up);
    auto hidden = gate * up;
    gate.reset();
    up.reset();
    fed = project(hidden, layer.down);
  }
  normed.reset();
  return middle + fed;
}

at::Tensor TransformerLm::forward(const at::Tensor& tokens) const {
  using torch::indexing::Slice;
  auto x = embedding_.index({tokens, Slice()});
  const auto embedded = x;
  for (const auto& layer : layers_) x = block(layer, x);
  x = plain_rms_norm(x, last_norm_);
  return project(x, head_);
}

at::Tensor lm_cross_entropy(const at::Tensor& logits, const at::Tensor& targets) {
  auto value = plain_log_softmax(logits);
  const auto negative = -value;
  value.reset();
  const auto chosen = torch::gather(negative, -1, targets.unsqueeze(-1));
  return torch::mean(chosen);
}

void TransformerLm::zero_grad() {
  for (auto& parameter : parameters_) parameter.mutable_grad().reset();
}

void TransformerLm::adamw() {
  at::Tensor gradient, before1, before2, first, second;
  for (auto& parameter : parameters_) {
    gradient = parameter.grad().data();
    auto& state = moments_[parameter.unsafeGetTensorImpl()];
    auto data = parameter.data();
    {
      const auto decay = data * 1e-5;
      data.sub_(decay);
    }
    const auto kept_or_zero = [&](const at::Tensor& kept) {
      auto zeros = torch::zeros_like(gradient);
      return kept.defined() ? kept : zeros;
    };
    before1 = kept_or_zero(state.first);
    before2 = kept_or_zero(state.second);
    {
      const auto old = before1 * 0.9;
      const auto fresh = gradient * 0.1;
      first = old + fresh;
    }
    {
      const auto old = before2 * 0.999;
      auto fresh = torch::square(gradient);
      fresh = fresh * 0.001;
      second = old + fresh;
    }
    {
      auto numerator = first * 1e-3;
      auto denominator = torch::sqrt(second);
      denominator = denominator + 1e-8;
      const auto change = numerator / denominator;
      numerator.reset();
      denominator.reset();
      data.sub_(change);
    }
    state = {first, second};
  }
}

}  // namespace athanor::test
