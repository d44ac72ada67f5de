#include "athanor/optim/Nonfinite.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/nn/module.h>

#include <utility>

#include "optim/Grads.h"

namespace athanor::optim {
namespace {

// float16 gradients have no inverse of a large scale in their own dtype, so LibTorch's operator multiplies in float.
void check_lists(const GradBucket& bucket, at::Tensor& found, const at::Tensor& inverse) {
  const at::Device device = bucket.grads.front().device();
  at::Tensor here = found.device() == device ? found : at::zeros({1}, at::TensorOptions(at::kFloat).device(device));
  at::_amp_foreach_non_finite_check_and_unscale_(bucket.grads, here, inverse.to(device));
  if (!here.is_same(found)) found.add_(here.to(found.device()));
}

}  // namespace

at::Tensor find_nonfinite(const std::vector<at::Tensor>& parameters, const at::Device& device) {
  at::Tensor found = at::zeros({1}, at::TensorOptions(at::kFloat).device(device));
  const GradBuckets all = grad_buckets(parameters);
  for (const auto& bucket : all.buckets) {
    if (bucket.on_engine) {
      if (engine::reduce(engine::Reduction::nonfinite, bucket.element, bucket.spans, at::get_num_threads()) != 0)
        found.fill_(1);
    } else {
      check_lists(bucket, found, at::ones({1}, at::TensorOptions(at::kFloat).device(bucket.grads.front().device())));
    }
  }
  return found.squeeze(0);
}

at::Tensor unscale_grads(const std::vector<at::Tensor>& parameters, const at::Tensor& scale) {
  at::Tensor found = at::zeros({1}, at::TensorOptions(at::kFloat).device(scale.device()));
  GradBuckets all = grad_buckets(parameters);
  const at::Tensor inverse = scale.to(at::kDouble).reciprocal().to(at::kFloat).reshape({1});
  for (const auto& bucket : all.buckets) {
    if (bucket.on_engine) {
      const int threads = at::get_num_threads();
      if (engine::reduce(engine::Reduction::nonfinite, bucket.element, bucket.spans, threads) != 0) found.fill_(1);
      engine::scale(inverse.item<double>(), bucket.element, bucket.spans, threads);
    } else {
      check_lists(bucket, found, inverse);
    }
  }
  all.write_back();
  return found.squeeze(0);
}

}  // namespace athanor::optim
