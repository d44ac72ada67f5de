// Embeddings and bags of them.
#include <ATen/OpMathType.h>
#include <ATen/ops/_embedding_bag_backward_native.h>
#include <ATen/ops/embedding_sparse_backward_native.h>
#include <ATen/ops/zeros.h>

#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Selection.h"
#include "rehearse/phantom/Sorts.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

// The rows that many indices hit are summed in segments: sorted indices, where segments begin, and partial sums.
// Source: embedding_backward_cuda_kernel in EmbeddingBackwardKernel.cu.
void sum_segments(const Call& call, std::int64_t indices, std::int64_t rows, std::int64_t width, c10::ScalarType index,
                  c10::ScalarType dtype) {
  const auto segments = std::min(indices, rows);
  const auto partials = indices / 10 + segments;  // a segment holds at most ten rows
  const auto offsets = call.empty({indices}, index);
  const auto found = call.empty({}, at::kLong);
  const auto per_segment = call.empty({segments}, index);
  const auto per_segment_offset = call.empty({segments}, index);
  const auto partial_count = call.empty({}, index);
  const auto partial_offset = call.empty({partials}, index);
  const auto sums = call.empty({partials, width}, at::toOpMathType(dtype));
}

// embedding_dense_backward(grad_output, indices, num_weights, padding_idx, scale_grad_by_freq)
void dense_backward(Call& call) {
  const auto& indices = call.tensor(1);
  const auto rows = call.integer(2);
  const auto count = indices.numel();
  const auto gradient = call.tensor(0).contiguous();
  const auto width = gradient.size(-1);
  const auto index = indices.scalar_type();
  const auto contiguous = indices.contiguous();
  if (count <= 3072 && !call.flag(4)) return call.returns({at::zeros({rows, width}, gradient.options())});
  const auto sorted = call.empty({count}, index);
  const auto original = call.empty({count}, index);
  {
    const auto range = call.empty({count}, index);
    const auto scratch = sort_pairs_scratch(call, count, index, index);
  }
  if (call.flag(4)) static_cast<void>(call.empty({count}, index));
  auto result = at::zeros({rows, width}, gradient.options());
  sum_segments(call, count, rows, width, index, gradient.scalar_type());
  call.returns({result});
}

// _embedding_bag(weight, indices, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights, include_last_offset,
// …)
void bag(Call& call) {
  const auto& weight = call.tensor(0);
  const auto& indices = call.tensor(1);
  const auto& offsets = call.tensor(2);
  const auto mode = call.integer(4);  // 0 sum, 1 mean, 2 max
  const auto bags = offsets.size(0) - (call.flag(7) ? 1 : 0);
  const auto index = indices.scalar_type();
  auto bag_size = call.empty({bags}, index);
  auto offset_to_bag = call.empty({indices.size(0)}, index);
  auto output = call.empty({bags, weight.size(1)}, weight.scalar_type());
  auto maximum = mode == 2 ? call.empty({bags, weight.size(1)}, index) : call.empty({0}, index);
  call.returns({output, offset_to_bag, bag_size, maximum});
}

// PyTorch's own function; how many indices are not padding is data, and all of them is the most it can be.
at::Tensor sparse_backward(const at::Tensor& gradient, const at::Tensor& indices, std::int64_t rows,
                           std::int64_t padding, bool by_frequency) {
  const AllSelected all;
  if (padding != -1)
    Memory::instance().recorder()->assume(
        "No index of an embedding with sparse gradients was taken to be padding: how many are is data. It is the most "
        "memory they can need.");
  return at::native::embedding_sparse_backward(gradient, indices, rows, padding, by_frequency);
}

// _embedding_bag_dense_backward(grad, indices, offset2bag, bag_size, maximum_indices, num_weights, scale, mode, …)
void bag_backward(Call& call) {
  const auto gradient = call.tensor(0).contiguous();
  const auto& indices = call.tensor(1);
  const auto rows = call.integer(5);
  const auto width = gradient.size(1);
  const auto count = indices.numel();
  const auto index = indices.scalar_type();
  if (call.integer(7) == 2) return call.returns({at::zeros({rows, width}, gradient.options())});
  if (count == 0) return call.returns({at::zeros({rows, width}, gradient.options())});
  const auto sorted = call.empty({count}, index);
  const auto original = call.empty({count}, index);
  {
    const auto range = call.empty({count}, index);
    const auto scratch = sort_pairs_scratch(call, count, index, index);
  }
  auto result = at::zeros({rows, width}, gradient.options());
  sum_segments(call, count, rows, width, index, gradient.scalar_type());
  call.returns({result});
}

// embedding_renorm_(self, indices, max_norm, norm_type): the indices that differ, and how many they are.
void renormalise(Call& call) {
  const auto indices = call.tensor(1).contiguous();
  const auto distinct = call.empty({indices.numel()}, indices.scalar_type());
  const auto count = call.empty({}, at::kLong);
  call.returns_written();
}

}  // namespace

void add_embeddings(Table& table) {
  constexpr auto dense = "aten/src/ATen/native/cuda/Embedding.cu";
  constexpr auto bags = "aten/src/ATen/native/cuda/EmbeddingBag.cu";
  table.rule("embedding_dense_backward", &dense_backward, dense);
  table.rule("_embedding_bag _embedding_bag_forward_only", &bag, bags);
  table.rule("_embedding_bag_dense_backward", &bag_backward, bags);
  table.shared<&at::native::_embedding_bag_backward_symint>("_embedding_bag_backward");
  table.typed<&sparse_backward>("embedding_sparse_backward", "aten/src/ATen/native/Embedding.cpp; no index is padding");
  table.rule(
      "_embedding_bag_per_sample_weights_backward",
      [](Call& call) { call.returns({call.empty({call.tensor(2).size(0)}, call.tensor(0).scalar_type())}); }, bags);
  table.rule("embedding_renorm_", &renormalise, dense);
}

}  // namespace athanor::rehearse::phantom
