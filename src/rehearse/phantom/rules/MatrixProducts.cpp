// Matrix products: results by Meta's shapes, and what cuBLAS and the layouts it wants cost.
#include <ATen/ops/empty_like.h>

#include "rehearse/phantom/Fallback.h"
#include "rehearse/phantom/Products.h"
#include "rehearse/phantom/Table.h"
#include "rehearse/phantom/Unknown.h"

namespace athanor::rehearse::phantom {
namespace {

std::vector<std::int64_t> product_sizes(const at::Tensor& a, const at::Tensor& b) {
  auto sizes = a.sizes().vec();
  sizes.back() = b.size(-1);
  return sizes;
}

// cuBLAS reads a matrix if one stride is 1 and the other at least the length; anything else is copied first.
// Source: aten/src/ATen/native/cuda/Blas.cpp, prepare_matrix_for_cublas and prepare_batch_matrix_for_cublas.
bool readable(const at::Tensor& matrix) {
  const auto rows = matrix.size(-2);
  const auto columns = matrix.size(-1);
  const auto row_stride = matrix.stride(-2);
  const auto column_stride = matrix.stride(-1);
  return (row_stride == 1 && column_stride >= std::max<std::int64_t>(1, rows)) ||
         (column_stride == 1 && row_stride >= std::max<std::int64_t>(1, columns));
}

at::Tensor copy_unless_readable(const at::Tensor& matrix) {
  return readable(matrix) || matrix.numel() == 0 ? at::Tensor() : make(matrix.sizes(), matrix.scalar_type());
}

at::Tensor multiply(const at::Tensor& a, const at::Tensor& b, c10::ScalarType dtype, bool with_bias = false) {
  auto result = make(product_sizes(a, b), dtype);
  const auto left = copy_unless_readable(a);
  const auto right = copy_unless_readable(b);
  const auto workspace = with_bias ? take_cublaslt_workspace() : c10::DataPtr();
  if (result.numel() > 0) take_cublas_workspace();
  return result;
}

// Whether cublasLt adds the bias. Source: addmm_out_cuda_impl in aten/src/ATen/native/cuda/Blas.cpp.
bool is_bias(const at::Tensor& self, const at::Tensor& b, const c10::Scalar& beta) {
  return beta.toComplexDouble() == 1.0 && self.dim() == 1 && self.size(0) == b.size(1) && self.is_contiguous() &&
         !self.is_complex() && b.size(0) > 1 && b.size(1) > 1;
}

void check(const at::Tensor& a, const at::Tensor& b, std::int64_t dims) {
  if (a.device() != b.device()) throw_other_device("matrix product", a, b);
  TORCH_CHECK(a.dim() == dims && b.dim() == dims && a.size(-1) == b.size(-2) && (dims == 2 || a.size(0) == b.size(0)),
              "matrix product: shapes ", a.sizes(), " and ", b.sizes(), " do not fit");
  TORCH_CHECK(a.scalar_type() == b.scalar_type(), "matrix product: expected both to have the same dtype, got ",
              a.scalar_type(), " and ", b.scalar_type());
}

at::Tensor mm(const at::Tensor& a, const at::Tensor& b) {
  check(a, b, 2);
  return multiply(a, b, a.scalar_type());
}
at::Tensor bmm(const at::Tensor& a, const at::Tensor& b) {
  check(a, b, 3);
  return multiply(a, b, a.scalar_type());
}
at::Tensor addmm(const at::Tensor& self, const at::Tensor& a, const at::Tensor& b, const c10::Scalar& beta,
                 const c10::Scalar&) {
  if (self.dim() > 0 && self.device() != a.device()) throw_other_device("aten::addmm", a, self);
  check(a, b, 2);
  return multiply(a, b, self.scalar_type(), is_bias(self, b, beta));
}
at::Tensor baddbmm(const at::Tensor& self, const at::Tensor& a, const at::Tensor& b, const c10::Scalar&,
                   const c10::Scalar&) {
  check(a, b, 3);
  return multiply(a, b, self.scalar_type());
}

// mm.dtype(self, mat2, out_dtype) and bmm.dtype; addmm.dtype(self, mat1, mat2, out_dtype, …) and baddbmm.dtype.
void with_dtype(Call& call, std::size_t first) {
  call.returns({multiply(call.tensor(first), call.tensor(first + 1), *call.dtype(first + 2))});
}

// _scaled_mm(self, mat2, scale_a, scale_b, bias, scale_result, out_dtype, use_fast_accum)
void scaled(Call& call) {
  call.returns({multiply(call.tensor(0), call.tensor(1), call.dtype(6).value_or(call.tensor(0).scalar_type()))});
}

}  // namespace

void add_matrix_products(Table& table) {
  constexpr auto blas = "aten/src/ATen/native/cuda/Blas.cpp";
  table.typed<&mm>("mm", blas);
  table.typed<&bmm>("bmm", blas);
  table.typed<&addmm>("addmm", blas);
  table.typed<&baddbmm>("baddbmm", blas);
  table.rule("_scaled_mm", &scaled, "aten/src/ATen/native/cuda/ScaledBlas.cpp");
  table.shape("_grouped_mm", "aten/src/ATen/native/cuda/GroupedBlas.cpp");
  table.shape("addr.out", "aten/src/ATen/native/LinearAlgebra.cpp");
  table.rule(
      "mm.dtype bmm.dtype", [](Call& call) { with_dtype(call, 0); }, blas);
  table.rule(
      "addmm.dtype baddbmm.dtype", [](Call& call) { with_dtype(call, 1); }, blas);
  table.rule(
      "dot vdot",
      [](Call& call) {
        auto result = call.empty({}, call.tensor(0).scalar_type());
        take_cublas_workspace();
        call.returns({result});
      },
      blas);
  table.rule(
      "_int_mm",
      [](Call& call) {
        call.returns({call.empty({call.tensor(0).size(0), call.tensor(1).size(1)}, at::kInt)});
      },
      blas);
}

}  // namespace athanor::rehearse::phantom
