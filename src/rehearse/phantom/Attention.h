#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace athanor::rehearse::phantom {

/// Which kernel scaled_dot_product_attention takes on this GPU: the number of its SDPBackend.
std::int64_t choose_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const std::optional<at::Tensor>& mask, double dropout, bool causal,
                              std::optional<double> scale, bool grouped);

/// How many queries and keys a thread block of the memory-efficient kernel's backward takes at a time, for heads of
/// `width`. Source: dispatch_cutlassB in mem_eff_attention/kernels/cutlassB.h, in its order of preference.
struct Tile {
  std::int64_t queries = 64;
  std::int64_t keys = 64;
};
Tile backward_tile(int compute_capability, bool half, std::int64_t width);

}  // namespace athanor::rehearse::phantom
