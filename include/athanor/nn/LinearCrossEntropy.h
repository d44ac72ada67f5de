#pragma once
#include <torch/nn/module.h>

#include <cstdint>

#include "athanor/core/Bytes.h"

namespace athanor::nn {

/// The last linear map of a model, onto classes or tokens: logits = hidden · weightᵀ + bias.
struct LinearHead {
  at::Tensor weight;  ///< [classes, width]
  at::Tensor bias;    ///< [classes], or undefined.
};

struct LinearCrossEntropyOptions {
  std::int64_t ignore_index = -100;  ///< Rows with this target count for nothing.
  double label_smoothing = 0.0;      ///< In [0, 1].
  bool mean = true;                  ///< Over the rows that count; otherwise their sum.
  Bytes chunk{
      std::int64_t{128} << 20};  ///< Bytes of fp32 logits that exist at once (two or three times that, briefly).
};

/// cross_entropy(linear(hidden, weight, bias), targets) without ever having the logits of the whole batch: for hidden
/// [..., width] and integer targets [...] the logits of a chunk of rows are made, used for the loss and at once for the
/// gradients, and dropped. So backward costs nothing but a multiplication by the incoming gradient, and memory is
/// chunk·2 instead of rows·classes·3. Loss and gradients are exact; sums run in another order than without chunks.
/// Under autocast the products are in its dtype and the rest in fp32, as without; weight gradients are summed in fp32.
/// Not twice differentiable (throws athanor::Error). Throws std::invalid_argument on shapes that do not fit each other.
at::Tensor linear_cross_entropy(const at::Tensor& hidden, const LinearHead& head, const at::Tensor& targets,
                                const LinearCrossEntropyOptions& options = {});

/// A model that can stop before its last linear map derives from this beside torch::nn::Module, so that training can
/// use `linear_cross_entropy`: forward(x) must equal linear(features(x), head()).
class HasLinearHead {
 public:
  virtual ~HasLinearHead() = default;
  virtual at::Tensor features(const at::Tensor& inputs) = 0;
  [[nodiscard]] virtual LinearHead head() const = 0;
};

/// The model as one that has a linear head; null if it does not say so.
HasLinearHead* find_linear_head(torch::nn::Module& model);

}  // namespace athanor::nn
