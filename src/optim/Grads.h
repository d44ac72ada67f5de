#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "optim/engine/Reduce.h"

namespace athanor::optim {

/// Gradients of one device and dtype.
struct GradBucket {
  std::vector<at::Tensor> grads;
  bool on_engine = false;  ///< On the CPU, float, double or bfloat16: spans are their elements.
  engine::Element element = engine::Element::f32;
  std::vector<engine::Span> spans;
};

struct GradBuckets {
  std::vector<GradBucket> buckets;
  at::Tensor first;  ///< The first gradient.
  /// Gradients with gaps or overlaps in memory were copied; this puts them back.
  void write_back();
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;  ///< (gradient, copy)
};

/// The gradients of parameters by device and dtype; parameters without one are skipped, sparse ones give their values.
GradBuckets grad_buckets(const std::vector<at::Tensor>& parameters);

}  // namespace athanor::optim
