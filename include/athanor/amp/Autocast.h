#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

namespace athanor::amp {

/// A region in which LibTorch picks the precision of every operation: matrix products and convolutions in `dtype`,
/// what needs the range (softmax, losses, norms) in fp32. Ends with the scope; regions nest, and an inner one may name
/// another dtype or torch::kFloat, which switches autocast off inside. Per thread, as LibTorch's own state is.
///
/// LibTorch can keep each weight's low-precision copy for the rest of a region. In older releases that cache lets a
/// forward under NoGradGuard poison the forward after it: the copy remembers no gradient (pytorch#112583). So no copy
/// is kept here unless `keep_casts` asks for it, which pays only where one region uses a weight many times (an RNN,
/// tied weights); then the cache is emptied when the outermost region ends.
class Autocast {
 public:
  /// dtype: torch::kBFloat16, torch::kHalf, or torch::kFloat for none. Throws std::invalid_argument for another.
  Autocast(c10::Device device, at::ScalarType dtype, bool keep_casts = false);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  c10::DeviceType device_;
  bool was_enabled_;
  bool was_caching_;
  at::ScalarType was_dtype_;
};

}  // namespace athanor::amp
