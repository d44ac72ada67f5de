#include "optim/Grads.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "optim/Method.h"

namespace athanor::optim {
namespace {

bool engine_element(const at::Tensor& tensor, engine::Element& element) {
  if (!tensor.is_cpu() || tensor.layout() != at::kStrided) return false;
  switch (tensor.scalar_type()) {
    case at::kFloat:
      element = engine::Element::f32;
      return true;
    case at::kDouble:
      element = engine::Element::f64;
      return true;
    case at::kBFloat16:
      element = engine::Element::bf16;
      return true;
    default:
      return false;
  }
}

}  // namespace

void GradBuckets::write_back() {
  for (auto& [grad, copy] : copies) grad.copy_(copy);
}

GradBuckets grad_buckets(const std::vector<at::Tensor>& parameters) {
  GradBuckets all;
  for (const auto& param : parameters) {
    at::Tensor grad = grad_of(param);
    if (!grad.defined()) continue;
    if (grad.is_sparse()) {
      grad = grad.coalesce();
      param.mutable_grad() = grad;
      grad = grad._values();
    }
    if (!all.first.defined()) all.first = grad;
    if (grad.numel() == 0) continue;  // nothing to sum, and no largest element
    GradBucket probe;
    probe.on_engine = engine_element(grad, probe.element);
    auto fits = [&](const GradBucket& bucket) {
      return bucket.grads.front().device() == grad.device() && bucket.grads.front().scalar_type() == grad.scalar_type();
    };
    auto found = std::find_if(all.buckets.begin(), all.buckets.end(), fits);
    if (found == all.buckets.end()) found = all.buckets.insert(all.buckets.end(), probe);
    if (found->on_engine && !grad.is_non_overlapping_and_dense()) {
      all.copies.emplace_back(grad, grad.contiguous());
      grad = all.copies.back().second;
    }
    found->grads.push_back(grad);
    if (found->on_engine) found->spans.push_back({grad.unsafeGetTensorImpl()->mutable_data(), grad.numel()});
  }
  return all;
}

}  // namespace athanor::optim
