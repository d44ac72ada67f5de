// Reading and writing at indices.
#include <ATen/ExpandUtils.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/_to_sparse_native.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/zeros.h>

#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Sorts.h"
#include "rehearse/phantom/Table.h"
#include "rehearse/phantom/Unknown.h"

namespace athanor::rehearse::phantom {
namespace {

using Sizes = std::vector<std::int64_t>;

// index_select(self, dim, index)
void index_select(Call& call) {
  const auto& self = call.tensor(0);
  auto sizes = self.sizes().vec();
  if (!sizes.empty())
    sizes[static_cast<std::size_t>(at::maybe_wrap_dim(call.integer(1), self.dim()))] = call.tensor(2).numel();
  call.returns({call.empty(sizes, self.scalar_type())});
}

bool is_mask(const at::Tensor& index) {
  return index.defined() && (index.scalar_type() == at::kBool || index.scalar_type() == at::kByte);
}

// Masks become the places they select.
std::vector<at::Tensor> without_masks(const Call& call, std::size_t argument) {
  std::vector<at::Tensor> indices;
  for (const auto& index : call.tensors(argument)) {
    if (!is_mask(index)) {
      indices.push_back(index);
      continue;
    }
    const auto places = at::nonzero(is_phantom(index) ? index : index.to(call.tensor(0).device()));
    for (std::int64_t dim = 0; dim < index.dim(); ++dim) indices.push_back(places.select(1, dim));
  }
  return indices;
}

// Indices on the host come to the device.
std::vector<at::Tensor> on_device(const Call& call, std::vector<at::Tensor> indices) {
  for (auto& index : indices)
    if (index.defined() && !is_phantom(index)) index = index.to(call.tensor(0).device());
  return indices;
}

// index.Tensor(self, indices)
void index(Call& call) {
  const auto indices = on_device(call, without_masks(call, 1));
  c10::List<std::optional<at::Tensor>> list;
  for (const auto& tensor : indices) list.push_back(tensor.defined() ? std::optional(tensor) : std::nullopt);
  call.replace(1, list);
  call.by_shape_alone();
}

std::int64_t places(const std::vector<at::Tensor>& indices) {
  Sizes shape;
  for (const auto& index : indices)
    if (index.defined()) shape = at::infer_size(shape, index.sizes());
  std::int64_t count = 1;
  for (const auto size : shape) count *= size;
  return count;
}

// One number for the indices of several dimensions: each is wrapped, scaled and added to the first. Those on the host
// are scaled there.
at::Tensor linear_index(const Call& call, const std::vector<at::Tensor>& indices, std::int64_t count) {
  at::Tensor linear;
  for (const auto& index : indices) {
    if (!index.defined()) continue;
    at::Tensor remainder;
    if (is_phantom(index)) remainder = call.empty({count}, at::kLong);
    const auto scaled = call.empty({count}, at::kLong);
    if (!linear.defined()) linear = scaled;
  }
  return linear;
}

// The values as one row for each place: a copy where they are not laid out so.
at::Tensor rows_of(const Call& call, const std::vector<at::Tensor>& indices, std::int64_t count) {
  const auto& self = call.tensor(0);
  const auto& values = call.tensor(2);
  auto needed = count;
  for (std::int64_t dim = 0; dim < self.dim(); ++dim)
    if (dim >= std::ssize(indices) || !indices[static_cast<std::size_t>(dim)].defined()) needed *= self.size(dim);
  if (values.numel() >= needed && values.is_contiguous()) return {};
  return call.empty({std::max(needed, values.numel())}, values.scalar_type());
}

bool scattered(const std::vector<at::Tensor>& indices) {
  std::size_t runs = 0;
  for (std::size_t i = 0; i < indices.size(); ++i)
    if (indices[i].defined() && (i == 0 || !indices[i - 1].defined())) ++runs;
  return runs > 1;
}

// _index_put_impl_(self, indices, values, accumulate, unsafe): accumulating sorts the places, so that each is summed by
// one thread. Source: index_put_with_sort_kernel in aten/src/ATen/native/cuda/Indexing.cu; measured to the byte.
void index_put(Call& call) {
  const auto& self = call.tensor(0);
  const auto indices = without_masks(call, 1);
  if (!call.flag(3)) {
    const auto moved = on_device(call, indices);
    const auto& values = call.tensor(2);
    const auto here = is_phantom(values) ? values : values.to(self.device());
    return call.returns_written();
  }
  const auto count = places(indices);
  at::Tensor straight;
  if (!self.is_contiguous()) straight = call.empty(self.sizes(), self.scalar_type());
  const auto linear = linear_index(call, indices, count);
  const auto rows = rows_of(call, indices, count);
  at::Tensor permuted;
  if (scattered(indices)) permuted = call.empty(self.sizes(), self.scalar_type());
  const auto sorted = call.empty({count}, at::kLong);
  const auto original = call.empty({count}, at::kLong);
  {
    const auto range = call.empty({count}, at::kLong);
    const auto scratch = sort_pairs_scratch(call, count, at::kLong, at::kLong);
  }
  call.returns_written();
}

// take(self, index): as many values as indices.
void take(Call& call) {
  call.returns({call.empty(call.tensor(1).sizes(), call.tensor(0).scalar_type())});
}

// searchsorted.Tensor(sorted, self, out_int32, …), bucketize.Tensor(self, boundaries, out_int32, …)
void places_of(Call& call, std::size_t values) {
  call.returns({call.empty(call.tensor(values).defined() ? call.tensor(values).sizes() : c10::IntArrayRef{},
                           call.flag(2) ? at::kInt : at::kLong)});
}

// repeat_interleave.Tensor(repeats, output_size)
void repeat_interleave(Call& call) {
  const auto sums = call.empty_like(call.tensor(0), at::kLong);
  std::int64_t count = 0;
  if (call.has(1)) {
    count = call.integer(1);
  } else {
    if (assumptions().selected < 0)
      throw_data_dependent("repeat_interleave",
                           "Give it output_size, or state an upper bound in "
                           "rehearse::Options::selected.");
    count = assumptions().selected;
  }
  call.returns({call.empty({count}, call.tensor(0).scalar_type())});
}

// bincount(self, weights, minlength): as many bins as the largest value says.
void bincount(Call& call) {
  const auto least = call.integer(2);
  if (least <= 0 && assumptions().selected < 0)
    throw_data_dependent("bincount", "Give it minlength, or state an upper bound in rehearse::Options::selected.");
  const auto dtype = !call.has(1) ? at::kLong : call.tensor(1).scalar_type() == at::kFloat ? at::kFloat : at::kDouble;
  call.returns({call.empty({std::max(least, assumptions().selected)}, dtype)});
}

// histc(self, bins, min, max)
void histogram(Call& call) {
  call.returns({call.empty({call.integer(1)}, call.tensor(0).scalar_type())});
}

// masked_scatter_(self, mask, source): counts the mask.
void masked_scatter(Call& call) {
  const auto counts = call.empty(call.tensor(0).sizes(), at::kLong);
  call.returns_written();
}

// unfold_backward(grad_in, input_sizes, dim, size, step)
void unfold_backward(Call& call) {
  call.returns({at::zeros(call.integers(1), call.tensor(0).options())});
}

// _cdist_forward(x1, x2, p, compute_mode) for batches of rows; backward(grad, x1, x2, p, cdist) like x1.
void distances(Call& call) {
  auto sizes = call.tensor(0).sizes().vec();
  sizes.back() = call.tensor(1).size(-2);
  call.returns({call.empty(sizes, call.tensor(0).scalar_type())});
}

// _pdist_forward(self, p): every pair once.
void pair_distances(Call& call) {
  const auto n = call.tensor(0).size(0);
  call.returns({call.empty({n * (n - 1) / 2}, call.tensor(0).scalar_type())});
}

// segment_reduce(data, reduce, lengths, indices, offsets, axis, unsafe, initial): a row for each segment.
void segments(Call& call) {
  const auto& data = call.tensor(0);
  const auto axis = call.integer(5);
  auto sizes = data.sizes().vec();
  sizes[static_cast<std::size_t>(axis)] = call.has(2) ? call.tensor(2).size(axis) : call.tensor(4).size(axis) - 1;
  at::Tensor offsets;
  if (call.has(2)) offsets = call.empty({call.tensor(2).numel() + 1}, call.tensor(2).scalar_type());
  call.returns({call.empty(sizes, data.scalar_type())});
}
// _segment_reduce_backward(grad, output, data, …)
void segments_backward(Call& call) {
  call.returns({at::zeros(call.tensor(2).sizes(), call.tensor(2).options())});
}

}  // namespace

void add_indexing(Table& table) {
  constexpr auto indexing = "aten/src/ATen/native/cuda/Indexing.cu";
  table.shared<static_cast<at::Tensor (*)(const at::Tensor&, std::optional<c10::Layout>, at::OptionalIntArrayRef,
                                          std::optional<std::int64_t>)>(&at::native::dense_to_sparse)>("_to_sparse");
  table.shared<static_cast<at::Tensor (*)(const at::Tensor&, std::int64_t)>(&at::native::dense_to_sparse)>(
      "_to_sparse.sparse_dim");
  table.rule("index_select", &index_select, indexing);
  table.rule("index.Tensor", &index, "aten/src/ATen/native/TensorAdvancedIndexing.cpp");
  table.rule("_index_put_impl_", &index_put, indexing, Confidence::exact);
  table.rule("take", &take, "aten/src/ATen/native/TensorAdvancedIndexing.cpp");
  table.rule(
      "searchsorted.Tensor searchsorted.Scalar", [](Call& call) { places_of(call, 1); },
      "aten/src/ATen/native/cuda/Bucketization.cu");
  table.rule(
      "bucketize.Tensor bucketize.Scalar", [](Call& call) { places_of(call, 0); },
      "aten/src/ATen/native/cuda/Bucketization.cu");
  table.rule("repeat_interleave.Tensor", &repeat_interleave, "aten/src/ATen/native/cuda/Repeat.cu");
  table.rule("bincount", &bincount, "aten/src/ATen/native/cuda/SummaryOps.cu", Confidence::estimate);
  table.rule("histc", &histogram, "aten/src/ATen/native/cuda/SummaryOps.cu");
  table.rule("segment_reduce", &segments, "aten/src/ATen/native/cuda/SegmentReduce.cu");
  table.rule("_segment_reduce_backward", &segments_backward, "aten/src/ATen/native/cuda/SegmentReduce.cu");
  table.rule("masked_scatter_", &masked_scatter, "aten/src/ATen/native/cuda/IndexKernel.cpp");
  table.rule("unfold_backward", &unfold_backward, "aten/src/ATen/native/UnfoldBackward.cpp");
  table.rule("_cdist_forward", &distances, "aten/src/ATen/native/Distance.cpp");
  table.rule(
      "_cdist_backward",
      [](Call& call) { call.returns({at::empty_like(call.tensor(1), LEGACY_CONTIGUOUS_MEMORY_FORMAT)}); },
      "aten/src/ATen/native/Distance.cpp");
  table.rule("_pdist_forward", &pair_distances, "aten/src/ATen/native/Distance.cpp");
  table.rule(
      "_pdist_backward", [](Call& call) { call.returns({at::empty_like(call.tensor(1))}); },
      "aten/src/ATen/native/Distance.cpp");
  table.rule(
      "nonzero_static",
      [](Call& call) {
        call.returns({call.empty({call.integer(1), call.tensor(0).dim()}, at::kLong)});
      },
      "aten/src/ATen/native/cuda/Nonzero.cu");
}

}  // namespace athanor::rehearse::phantom
