#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace athanor::rehearse::phantom {

/// Which kernel scaled_dot_product_attention takes on this GPU: the number of its SDPBackend.
std::int64_t choose_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const std::optional<at::Tensor>& mask, double dropout, bool causal,
                              std::optional<double> scale, bool grouped);

}  // namespace athanor::rehearse::phantom
