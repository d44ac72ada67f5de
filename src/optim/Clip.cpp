#include "athanor/optim/Clip.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "athanor/core/Error.h"
#include "optim/Grads.h"
#include "optim/engine/Reduce.h"

namespace athanor::optim {
namespace {

// The norm of one bucket on the engine.
double engine_norm(const GradBucket& bucket, double p) {
  const int threads = at::get_num_threads();
  if (std::isinf(p)) return engine::reduce(engine::Reduction::max_abs, bucket.element, bucket.spans, threads);
  if (p == 1) return engine::reduce(engine::Reduction::sum_abs, bucket.element, bucket.spans, threads);
  return std::sqrt(engine::reduce(engine::Reduction::sum_squares, bucket.element, bucket.spans, threads));
}

at::Tensor lists_norm(const GradBucket& bucket, double p) {
  return at::linalg_vector_norm(at::stack(at::_foreach_norm(bucket.grads, p)), p);
}

bool on_engine(const GradBucket& bucket, double p) {
  return bucket.on_engine && (std::isinf(p) || p == 1 || p == 2);
}

void refuse_nonfinite(double norm, double p) {
  if (std::isfinite(norm)) return;
  throw Error(
      fmt::format("clip_grad_norm: the gradients' norm of order {} is {}, so they cannot be scaled by it: a loss or a "
                  "gradient overflowed; lower the learning rate, or leave error_if_nonfinite off",
                  p, norm));
}

}  // namespace

at::Tensor clip_grad_norm(const std::vector<at::Tensor>& parameters, double max_norm, ClipNormOptions options) {
  const double p = options.norm_type;
  if (!(max_norm >= 0))
    throw std::invalid_argument(fmt::format("clip_grad_norm: max_norm must be >= 0, got {}", max_norm));
  if (!(p > 0)) throw std::invalid_argument(fmt::format("clip_grad_norm: norm_type must be > 0, got {}", p));
  const at::NoGradGuard no_grad;
  GradBuckets all = grad_buckets(parameters);
  if (!all.first.defined()) return at::zeros({});
  const auto result = at::TensorOptions(all.first.scalar_type()).device(all.first.device());
  std::vector<double> host;
  std::vector<at::Tensor> norms;
  for (const auto& bucket : all.buckets) {
    if (on_engine(bucket, p)) {
      host.push_back(engine_norm(bucket, p));
    } else {
      norms.push_back(lists_norm(bucket, p).to(result));
    }
  }
  if (norms.empty()) {  // all on the host: no tensor is needed
    double total = 0;
    for (const double norm : host) {
      total = std::isinf(p) ? (std::isnan(norm) ? norm : std::max(total, norm)) : total + std::pow(norm, p);
      if (std::isnan(total)) break;
    }
    if (!std::isinf(p)) total = host.size() == 1 ? host[0] : std::pow(total, 1 / p);
    if (options.error_if_nonfinite) refuse_nonfinite(total, p);
    const double factor = max_norm / (total + 1e-6);
    if (!(factor >= 1))  // NaN too: the gradients then say that something is wrong, as PyTorch's do
      for (const auto& bucket : all.buckets) engine::scale(factor, bucket.element, bucket.spans, at::get_num_threads());
    all.write_back();
    return at::scalar_tensor(total, result);
  }
  for (const double norm : host) norms.push_back(at::scalar_tensor(norm, result));
  const at::Tensor total = norms.size() == 1 ? norms[0] : at::linalg_vector_norm(at::stack(norms), p);
  if (options.error_if_nonfinite) refuse_nonfinite(total.item<double>(), p);
  const at::Tensor factor = at::clamp_max(max_norm / (total + 1e-6), 1.0);
  for (const auto& bucket : all.buckets) {
    // 0-dim factors multiply any dtype without a change of it.
    at::_foreach_mul_(bucket.grads, factor.to(bucket.grads.front().device()));
  }
  return total;
}

void clip_grad_value(const std::vector<at::Tensor>& parameters, double clip_value) {
  if (!(clip_value >= 0))
    throw std::invalid_argument(fmt::format("clip_grad_value: clip_value must be >= 0, got {}", clip_value));
  const at::NoGradGuard no_grad;
  GradBuckets all = grad_buckets(parameters);
  for (auto& bucket : all.buckets) {
    if (bucket.on_engine) {
      engine::limit(clip_value, bucket.element, bucket.spans, at::get_num_threads());
    } else {
      at::_foreach_clamp_min_(bucket.grads, -clip_value);
      at::_foreach_clamp_max_(bucket.grads, clip_value);
    }
  }
  all.write_back();
}

}  // namespace athanor::optim
