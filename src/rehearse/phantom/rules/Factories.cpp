// Making tensors, and looking at the same memory in another way.
#include <ATen/EmptyTensor.h>
#include <ATen/NativeFunctions.h>

#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

using std::optional;

// Allocates where a factory's device argument says.
class OnDevice {
 public:
  explicit OnDevice(optional<c10::Device> device) : before_(Guard::place().device) {
    if (device && device->has_index()) Guard::move_to(device->index());
  }
  ~OnDevice() { Guard::move_to(before_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  c10::DeviceIndex before_;
};

c10::ScalarType or_default(optional<c10::ScalarType> dtype) {
  return dtype.value_or(at::get_default_dtype_as_scalartype());
}

at::Tensor empty(c10::IntArrayRef sizes, optional<c10::ScalarType> dtype, optional<c10::Layout>,
                 optional<c10::Device> device, optional<bool>, optional<c10::MemoryFormat> format) {
  const OnDevice there(device);
  return make(sizes, or_default(dtype), format.value_or(c10::MemoryFormat::Contiguous));
}

at::Tensor empty_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides, optional<c10::ScalarType> dtype,
                         optional<c10::Layout>, optional<c10::Device> device, optional<bool>) {
  const OnDevice there(device);
  return make_strided(sizes, strides, or_default(dtype));
}

const at::Tensor& resize(const at::Tensor& self, c10::IntArrayRef sizes, optional<c10::MemoryFormat> format) {
  const auto meta = to_meta(self);
  meta.resize_(sizes, format);
  follow_shape(self, meta);
  return self;
}

at::Tensor& set_storage(at::Tensor& self, c10::Storage storage, std::int64_t offset, c10::IntArrayRef sizes,
                        c10::IntArrayRef strides) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(storage));
  if (strides.data() == nullptr || (strides.empty() && !sizes.empty()))
    impl->set_sizes_contiguous(sizes);
  else
    impl->set_sizes_and_strides(sizes, strides, offset);
  return self;
}
at::Tensor& set_tensor(at::Tensor& self, const at::Tensor& source) {
  return set_storage(self, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}
at::Tensor& set_empty(at::Tensor& self) {
  return set_tensor(self, make({0}, self.scalar_type()));
}

at::Tensor as_strided(const at::Tensor& self, c10::IntArrayRef sizes, c10::IntArrayRef strides,
                      optional<std::int64_t> offset) {
  return view_of(self, sizes, strides, offset.value_or(self.storage_offset()), self.dtype());
}

}  // namespace

void add_factories(Table& table) {
  constexpr auto factories = "aten/src/ATen/native/cuda/TensorFactories.cu";
  constexpr auto resizes = "aten/src/ATen/native/cuda/Resize.cpp";
  table.typed<&empty>("empty.memory_format", factories);
  table.typed<&empty_strided>("empty_strided", factories);
  table.typed<&resize>("resize_", resizes);
  table.typed<&set_storage>("set_.source_Storage_storage_offset", "aten/src/ATen/native/cuda/TensorShapeCUDA.cpp");
  table.typed<&set_tensor>("set_.source_Tensor", "aten/src/ATen/native/TensorFactories.cpp");
  table.typed<&set_empty>("set_", "aten/src/ATen/native/cuda/TensorShapeCUDA.cpp");
  table.typed<&as_strided>("as_strided", "aten/src/ATen/native/TensorShape.cpp");
  table.shared<&at::native::view>("view");
  table.shared<&at::native::_reshape_alias>("_reshape_alias");
  table.shared<&at::native::view_as_real>("view_as_real");
  table.shared<&at::native::view_as_complex>("view_as_complex");
  table.shared<&at::native::unfold>("unfold");
  table.shared<&at::native::is_set_to>("is_set_to");
  table.shape("_chunk_cat _chunk_cat.out split_with_sizes_copy.out", "aten/src/ATen/native/cuda/TensorShape.cu");
  table.rule(
      "tril_indices triu_indices",
      [](Call& call) {
        const auto rows = call.integer(0);
        const auto columns = call.integer(1);
        const auto offset = call.integer(2);
        const bool lower = call.op().schema().name() == "aten::tril_indices";
        std::int64_t count = 0;
        for (std::int64_t row = 0; row < rows; ++row) {
          const auto below = std::min(columns, std::max<std::int64_t>(0, row + offset + (lower ? 1 : 0)));
          count += lower ? below : columns - below;
        }
        call.returns({call.empty({2, count}, call.dtype(3).value_or(at::kLong))});
      },
      factories);
}

}  // namespace athanor::rehearse::phantom
