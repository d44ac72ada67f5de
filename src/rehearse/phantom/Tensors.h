#pragma once
#include <ATen/core/Tensor.h>

namespace athanor::rehearse::phantom {

/// A tensor on the phantom.
[[nodiscard]] inline bool is_phantom(const at::Tensor& tensor) {
  return tensor.defined() && tensor.is_cuda();
}

/// Fresh tensors on the phantom, as the CUDA allocator would back them.
[[nodiscard]] at::Tensor make(c10::IntArrayRef sizes, c10::ScalarType dtype,
                              c10::MemoryFormat format = c10::MemoryFormat::Contiguous);
[[nodiscard]] at::Tensor make_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides, c10::ScalarType dtype);

/// Another look at `base`'s storage.
[[nodiscard]] at::Tensor view_of(const at::Tensor& base, c10::IntArrayRef sizes, c10::IntArrayRef strides,
                                 std::int64_t offset, caffe2::TypeMeta dtype);

/// The same shape on the Meta device; tensors that are not on the phantom (CPU scalars) come back as they are.
[[nodiscard]] at::Tensor to_meta(const at::Tensor& tensor);
/// A fresh phantom tensor of the shape and *storage* of a Meta one (smooth_l1_loss(mean) owns more than it shows).
[[nodiscard]] at::Tensor from_meta(const at::Tensor& meta);

/// Gives the storage at least `bytes`; in CUDA's order: the new block first, then the old one goes.
void grow_storage(const at::Tensor& tensor, std::size_t bytes);
/// Takes over a shape that an operator gave its Meta twin.
void follow_shape(const at::Tensor& tensor, const at::Tensor& meta);

}  // namespace athanor::rehearse::phantom
