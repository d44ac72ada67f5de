// Sorting, order statistics and scans.
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/empty_like.h>

#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

using Sizes = std::vector<std::int64_t>;

Sizes without(const at::Tensor& self, std::int64_t dim, bool keep) {
  auto sizes = self.sizes().vec();
  if (sizes.empty()) return sizes;
  const auto at = at::maybe_wrap_dim(dim, self.dim());
  if (keep)
    sizes[static_cast<std::size_t>(at)] = 1;
  else
    sizes.erase(sizes.begin() + at);
  return sizes;
}

// Sorted values and their places go straight into the results; rows too long for one block are sorted by cub, which
// keeps second copies of both.
void sort(Call& call) {
  const at::Tensor self = call.tensor(0);
  const auto dim = call.size() == 4 ? call.integer(2) : call.integer(1);
  const auto longest = self.dim() == 0 ? 1 : self.size(at::maybe_wrap_dim(dim, self.dim()));
  call.by_shape_alone();
  constexpr std::int64_t in_one_block = 4096;
  if (longest <= in_one_block) return;
  const auto copies = self.numel() * static_cast<std::int64_t>(self.element_size() + 8);
  static_cast<void>(call.scratch(copies, Confidence::estimate, 0, 2 * copies));
}

// kthvalue.values(self, k, dim, keepdim, values, indices), median.dim_values(self, dim, keepdim, values, indices)
void order_statistic(Call& call, std::size_t dim) {
  const auto sizes = without(call.tensor(0), call.integer(dim), call.flag(dim + 1));
  call.tensor(dim + 2).resize_(sizes);
  call.tensor(dim + 3).resize_(sizes);
  const auto contiguous = call.tensor(0).contiguous();
  call.returns_written();
}

// median(self): sorts the flattened tensor.
void median(Call& call) {
  const auto& self = call.tensor(0);
  const auto flat = self.contiguous();
  const auto sorted = call.empty({self.numel()}, self.scalar_type());
  const auto places = call.empty({self.numel()}, at::kLong);
  call.returns({call.empty({}, self.scalar_type())});
}

// mode(self, dim, keepdim)
void mode(Call& call) {
  const auto sizes = without(call.tensor(0), call.integer(1), call.flag(2));
  auto values = call.empty(sizes, call.tensor(0).scalar_type());
  call.returns({values, call.empty(sizes, at::kLong)});
}

}  // namespace

void add_sorting(Table& table) {
  constexpr auto statistics = "aten/src/ATen/native/cuda/Sorting.cpp";
  table.rule("sort.stable sort", &sort, "aten/src/ATen/native/cuda/Sort.cpp; cub's scratch", Confidence::estimate);
  table.rule(
      "kthvalue.values", [](Call& call) { order_statistic(call, 2); }, statistics);
  table.rule(
      "median.dim_values nanmedian.dim_values", [](Call& call) { order_statistic(call, 1); }, statistics);
  table.rule("median nanmedian", &median, statistics);
  table.rule("mode", &mode, "aten/src/ATen/native/cuda/TensorModeKernel.cpp");
  table.rule(
      "_logcumsumexp",
      [](Call& call) { call.returns({at::empty_like(call.tensor(0), LEGACY_CONTIGUOUS_MEMORY_FORMAT)}); },
      "aten/src/ATen/native/cuda/ScanKernels.cpp");
  table.in_place("_cummax_helper _cummin_helper", "aten/src/ATen/native/cuda/ScanKernels.cpp");
}

}  // namespace athanor::rehearse::phantom
