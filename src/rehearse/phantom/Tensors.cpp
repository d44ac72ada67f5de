#include "rehearse/phantom/Tensors.h"

#include <ATen/EmptyTensor.h>

#include "rehearse/phantom/Memory.h"

namespace athanor::rehearse::phantom {
namespace {

const c10::DispatchKeySet cuda_keys(c10::DispatchKey::CUDA);

}  // namespace

at::Tensor make(c10::IntArrayRef sizes, c10::ScalarType dtype, c10::MemoryFormat format) {
  return at::Tensor(at::detail::empty_generic(
      sizes, &Memory::instance(), cuda_keys, dtype,
      format == c10::MemoryFormat::Contiguous ? std::nullopt : std::optional<c10::MemoryFormat>(format)));
}

at::Tensor make_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides, c10::ScalarType dtype) {
  return at::Tensor(at::detail::empty_strided_generic(sizes, strides, &Memory::instance(), cuda_keys, dtype));
}

at::Tensor view_of(const at::Tensor& base, c10::IntArrayRef sizes, c10::IntArrayRef strides, std::int64_t offset,
                   caffe2::TypeMeta dtype) {
  auto view = at::detail::make_tensor<c10::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(base.storage()),
                                                       base.key_set(), dtype);
  view.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides, offset);
  return view;
}

at::Tensor to_meta(const at::Tensor& tensor) {
  if (!is_phantom(tensor)) return tensor;
  auto storage = c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), static_cast<std::int64_t>(tensor.storage().nbytes()),
      c10::DataPtr(nullptr, c10::Device(c10::kMeta)), c10::GetAllocator(c10::kMeta), true);
  auto meta = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(std::move(storage)),
                                                       c10::DispatchKeySet(c10::DispatchKey::Meta), tensor.dtype());
  auto* impl = meta.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  if (tensor.dim() == 0) impl->set_wrapped_number(tensor.unsafeGetTensorImpl()->is_wrapped_number());
  if (tensor.is_conj()) impl->_set_conj(true);
  if (tensor.is_neg()) impl->_set_neg(true);
  return meta;
}

at::Tensor from_meta(const at::Tensor& meta) {
  if (!meta.defined() || !meta.is_meta()) return meta;
  const auto dtype = meta.scalar_type();
  const auto needed = at::detail::computeStorageNbytes(meta.sizes(), meta.strides(), meta.dtype().itemsize(),
                                                       static_cast<std::size_t>(meta.storage_offset()));
  const auto owned = meta.storage().nbytes();
  if (owned <= needed) return make_strided(meta.sizes(), meta.strides(), dtype);
  const auto item = static_cast<std::int64_t>(meta.dtype().itemsize());
  const auto whole = make({static_cast<std::int64_t>(owned) / item}, dtype);
  return view_of(whole, meta.sizes(), meta.strides(), meta.storage_offset(), meta.dtype());
}

void grow_storage(const at::Tensor& tensor, std::size_t bytes) {
  auto* storage = tensor.storage().unsafeGetStorageImpl();
  if (bytes <= storage->nbytes()) return;
  auto fresh = Memory::instance().allocate(bytes);
  storage->set_data_ptr_noswap(std::move(fresh));
  storage->set_nbytes(bytes);
}

void follow_shape(const at::Tensor& tensor, const at::Tensor& meta) {
  if (tensor.sizes() == meta.sizes() && tensor.strides() == meta.strides()) return;
  const auto offset = tensor.storage_offset();
  grow_storage(tensor, at::detail::computeStorageNbytes(meta.sizes(), meta.strides(), meta.dtype().itemsize(),
                                                        static_cast<std::size_t>(offset)));
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(meta.sizes(), meta.strides(), offset);
}

}  // namespace athanor::rehearse::phantom
