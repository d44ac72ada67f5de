// Reductions: results by shape, and the staging memory of large ones.
#include "rehearse/phantom/Reductions.h"

#include <ATen/WrapDimUtils.h>

#include <algorithm>

#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

using Dims = std::vector<std::int64_t>;

constexpr ReductionKernel welford(std::int64_t item) {
  return {item == 8 ? 32 : 16, 2};  // mean, m2, count, and the count as a float
}
constexpr ReductionKernel with_index{16, 4};  // a value and its index

Dims reduced_sizes(const at::Tensor& self, Dims dims, bool keep) {
  auto sizes = self.sizes().vec();
  if (dims.empty())
    for (std::int64_t i = 0; i < self.dim(); ++i) dims.push_back(i);
  for (auto& dim : dims) dim = at::maybe_wrap_dim(dim, self.dim());
  std::sort(dims.rbegin(), dims.rend());
  for (const auto dim : dims) {
    if (sizes.empty()) break;
    if (keep)
      sizes[static_cast<std::size_t>(dim)] = 1;
    else
      sizes.erase(sizes.begin() + dim);
  }
  return sizes;
}

Dims dims_of(const Call& call, std::size_t argument) {
  return call.has(argument) ? call.integers(argument) : Dims{};
}

at::Tensor reduce(const Call& call, const Dims& dims, bool keep, c10::ScalarType dtype, ReductionKernel kernel = {}) {
  const auto& self = call.tensor(0);
  auto result = call.empty(reduced_sizes(self, dims, keep), dtype);
  reduction_scratch(result, self, dims, keep, kernel);
  return result;
}

// sum.dim_IntList(self, dim, keepdim, dtype), mean.dim, nansum alike
void sum(Call& call) {
  const auto dtype = call.tensor(0).scalar_type();
  const auto wanted = call.dtype(3).value_or(c10::isIntegralType(dtype, true) ? at::kLong : dtype);
  call.returns({reduce(call, dims_of(call, 1), call.flag(2), wanted)});
}
void mean(Call& call) {
  const auto dtype = call.dtype(3).value_or(call.tensor(0).scalar_type());
  TORCH_CHECK(c10::isFloatingType(dtype) || c10::isComplexType(dtype),
              "mean(): could not infer output dtype: input must be floating or complex, got ", dtype);
  call.returns({reduce(call, dims_of(call, 1), call.flag(2), dtype)});
}

// amax(self, dim, keepdim)
void extreme(Call& call) {
  call.returns({reduce(call, dims_of(call, 1), call.flag(2), call.tensor(0).scalar_type())});
}

// max(self): one value of a contiguous copy.
void extreme_all(Call& call) {
  const auto& self = call.tensor(0);
  TORCH_CHECK(self.numel() > 0, "max(): expected a non-empty tensor");
  auto result = call.empty({}, self.scalar_type());
  reduction_scratch(result, self.contiguous(), {}, false, {});
  call.returns({result});
}

// max.dim(self, dim, keepdim): values and their places.
void extreme_with_index(Call& call) {
  const auto& self = call.tensor(0);
  const Dims dims{call.integer(1)};
  const auto sizes = reduced_sizes(self, dims, call.flag(2));
  auto values = call.empty(sizes, self.scalar_type());
  auto indices = call.empty(sizes, at::kLong);
  reduction_scratch(values, self, dims, call.flag(2), with_index);
  call.returns({values, indices});
}

// argmax(self, dim, keepdim): over everything it reads a contiguous copy in one row.
void arg_extreme(Call& call) {
  const auto& self = call.tensor(0);
  if (call.has(1)) {
    const Dims dims{call.integer(1)};
    auto result = call.empty(reduced_sizes(self, dims, call.flag(2)), at::kLong);
    auto values = view_of(result, result.sizes(), result.strides(), 0, self.dtype());
    reduction_scratch(values, self, dims, call.flag(2), with_index);
    return call.returns({result});
  }
  auto result = call.empty(call.flag(2) ? Dims(static_cast<std::size_t>(self.dim()), 1) : Dims{}, at::kLong);
  const auto flat = self.contiguous();
  call.returns({result});
}

// prod(self, dtype) and prod.dim_int(self, dim, keepdim, dtype)
void product(Call& call, Dims dims, bool keep, std::size_t dtype_argument) {
  const auto dtype = call.tensor(0).scalar_type();
  const auto wanted = call.dtype(dtype_argument).value_or(c10::isIntegralType(dtype, true) ? at::kLong : dtype);
  call.returns({reduce(call, dims, keep, wanted)});
}

// var.correction(self, dim, correction, keepdim); var_mean.correction has two results.
void variance(Call& call) {
  const auto& self = call.tensor(0);
  const auto dims = dims_of(call, 1);
  const bool keep = call.flag(3);
  const auto real =
      c10::isComplexType(self.scalar_type()) ? c10::toRealValueType(self.scalar_type()) : self.scalar_type();
  const auto sizes = reduced_sizes(self, dims, keep);
  std::vector<c10::IValue> results{call.empty(sizes, real)};
  if (call.op().schema().returns().size() == 2) results.emplace_back(call.empty(sizes, self.scalar_type()));
  reduction_scratch(results[0].toTensor(), self, dims, keep, welford(static_cast<std::int64_t>(self.element_size())));
  call.returns(std::move(results));
}

// linalg_vector_norm(self, ord, dim, keepdim, dtype)
void norm(Call& call) {
  const auto& self = call.tensor(0);
  auto dtype = call.dtype(4).value_or(self.scalar_type());
  if (c10::isComplexType(dtype)) dtype = c10::toRealValueType(dtype);
  call.returns({reduce(call, dims_of(call, 2), call.flag(3), dtype)});
}

// any(self), any.dim(self, dim, keepdim), any.dims(self, dims, keepdim) and all
void truth(Call& call) {
  const bool whole = call.size() == 1;
  const auto dtype = call.tensor(0).scalar_type() == at::kByte ? at::kByte : at::kBool;
  auto result =
      call.empty(reduced_sizes(call.tensor(0), whole ? Dims{} : dims_of(call, 1), !whole && call.flag(2)), dtype);
  call.returns({result});
}

// aminmax(self, dim, keepdim), _aminmax.dim alike
void both_extremes(Call& call) {
  const auto dims = call.has(1) ? Dims{call.integer(1)} : Dims{};
  const auto sizes = reduced_sizes(call.tensor(0), dims, call.flag(2));
  auto least = call.empty(sizes, call.tensor(0).scalar_type());
  call.returns({least, call.empty(sizes, call.tensor(0).scalar_type())});
}

// count_nonzero.dim_IntList(self, dim): counts a mask.
void count_nonzero(Call& call) {
  const auto mask = call.empty_like(call.tensor(0), at::kBool);
  call.returns({call.empty(reduced_sizes(call.tensor(0), call.integers(1), false), at::kLong)});
}

}  // namespace

void add_reductions(Table& table) {
  constexpr auto reduce = "aten/src/ATen/native/cuda/Reduce.cuh";
  table.rule("sum.dim_IntList nansum", &sum, reduce, Confidence::exact);
  table.rule("mean.dim", &mean, reduce, Confidence::exact);
  table.rule("amax amin", &extreme, reduce);
  table.rule("max min", &extreme_all, reduce);
  table.rule("max.dim min.dim", &extreme_with_index, reduce, Confidence::exact);
  table.rule("argmax argmin", &arg_extreme, reduce);
  table.rule(
      "prod", [](Call& call) { product(call, {}, false, 1); }, reduce);
  table.rule(
      "prod.dim_int", [](Call& call) { product(call, {call.integer(1)}, call.flag(2), 3); }, reduce);
  table.rule("var.correction std.correction var_mean.correction std_mean.correction", &variance, reduce);
  table.rule("linalg_vector_norm linalg__powsum", &norm, reduce);
  table.rule("any any.dim any.dims all all.dim all.dims", &truth, reduce);
  table.shape("any.dims_out all.dims_out", reduce);
  table.rule(
      "_aminmax",
      [](Call& call) {
        call.returns({call.empty({}, call.tensor(0).scalar_type()), call.empty({}, call.tensor(0).scalar_type())});
      },
      reduce);
  table.rule("aminmax _aminmax.dim", &both_extremes, reduce);
  table.rule("count_nonzero.dim_IntList", &count_nonzero, reduce);
  table.rule(
      "trace", [](Call& call) { call.returns({call.empty({}, call.tensor(0).scalar_type())}); },
      "aten/src/ATen/native/cuda/TriangularOps.cu");
}

}  // namespace athanor::rehearse::phantom
