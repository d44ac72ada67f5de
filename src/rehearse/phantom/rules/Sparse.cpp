// Sparse tensors (COO): gradients of embeddings, and what optimizers and autograd do with them. Most of PyTorch's
// kernels for them are the same functions on CPU and GPU, compositions of dense operators; those are run. The rest has
// rules here.
#include "rehearse/phantom/Sparse.h"

#include <ATen/native/DispatchStub.h>
#include <ATen/native/SparseTensorUtils.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/result_type.h>
#include <fmt/format.h>

#include <algorithm>

#include "athanor/core/Error.h"
#include "rehearse/phantom/Fallback.h"
#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Sorts.h"
#include "rehearse/phantom/Unknown.h"

// Functions and stubs of LibTorch whose headers it does not install.
namespace at::native {
TORCH_API Tensor& _mul_dense_sparse_out(const Tensor& dense, const Tensor& sparse, Tensor& out);
TORCH_API Tensor& _mul_sparse_sparse_zero_dim_out(const Tensor& scalar, const Tensor& other, Tensor& out);
TORCH_API Tensor& mul_out_sparse_scalar(Tensor& out, const Tensor& self, const Scalar& value);
DECLARE_DISPATCH(Tensor (*)(const Tensor&, IntArrayRef), flatten_indices_stub)
}  // namespace at::native

namespace athanor::rehearse::phantom {
namespace {

using at::Tensor;

// How many rows are left once those of equal index are summed is data. No more than there were, and no more than the
// sparse dimensions have places.
std::int64_t distinct(const Tensor& sparse) {
  std::int64_t places = 1;
  for (std::int64_t dim = 0; dim < sparse.sparse_dim(); ++dim) places *= sparse.size(dim);
  const auto bound = std::min(sparse._nnz(), places);
  Memory::instance().recorder()->assume(
      "Sparse gradients were taken to hold as many different rows as they have indices, or as the parameter has rows: "
      "how many of them are equal is data. It is the most they can be.");
  return bound;
}

// _coalesce(self): indices of one dimension are sorted with their places and counted; rows of one index are summed.
// Source: SparseCUDATensor.cu.
Tensor coalesce_rows(const Tensor& self) {
  const auto count = self._nnz();
  if (count < 2) return self.clone()._coalesced_(true);
  const auto indices = self._indices();
  const auto places = at::sparse::flatten_indices(indices, self.sizes(), true);
  const auto original = at::empty({count}, indices.options());
  const auto offsets = at::empty({count}, indices.options());
  static_cast<void>(merge_sort_pairs_scratch(count));
  static_cast<void>(unique_pairs_scratch(count));
  const auto found = distinct(self);
  places.resize_({1, found});
  auto sizes = self._values().sizes().vec();
  sizes.front() = found;
  const auto sums = at::empty(sizes, self._values().options());
  if (sums.numel() > 0) static_cast<void>(self._values().contiguous());
  auto unflattened = places;
  if (self.sparse_dim() > 1) {
    unflattened = at::empty({self.sparse_dim(), found}, original.options());
    for (auto dim = self.sparse_dim() - 1; dim >= 0; --dim) {
      auto row = unflattened.narrow(0, dim, 1);
      row.copy_(places);
      places.divide_(self.size(dim), "trunc");
      row.add_(places, -self.size(dim));
    }
  }
  return at::_sparse_coo_tensor_unsafe(unflattened, sums, self.sizes())._coalesced_(true);
}

// Values go to their rows: by index if each row is there once, else with index_add_. Source: SparseCUDATensorMath.cu.
Tensor& add_to_dense(Tensor& out, const Tensor& dense, const Tensor& sparse, const c10::Scalar& alpha) {
  if (sparse._nnz() == 0) return out.resize_as_(dense).copy_(dense);
  const auto dtype = at::result_type(dense, sparse);
  Tensor sum = out.scalar_type() == dtype ? out : at::empty_like(dense, out.options().dtype(dtype));
  const auto augend = dense.to(dtype);
  auto values = sparse._values().to(dtype);
  if (!sum.is_same(augend)) sum.resize_as_(dense).copy_(augend);
  if (values.numel() == 0) return out;
  if (sparse.is_coalesced()) {
    if (sparse.dense_dim() > 0) values = values.contiguous();
  } else {
    const auto places = at::sparse::flatten_indices(sparse._indices(), sparse.sizes(), false);
    std::int64_t rows = 1;
    for (std::int64_t dim = 0; dim < sparse.sparse_dim(); ++dim) rows *= sum.size(dim);
    auto table = sum.view({rows, sum.numel() / std::max<std::int64_t>(rows, 1)});
    table.index_add_(0, places, values.reshape({sparse._nnz(), -1}), alpha);
  }
  return out.copy_(sum);
}

// Indices and values are written one after the other, which is how gradients accumulate: nothing is summed until there
// are more values than the dense tensor would have. Source: SparseCUDATensorMath.cu.
Tensor& add_to_sparse(Tensor& out, const Tensor& self, const Tensor& other, const c10::Scalar& alpha) {
  if (other._nnz() == 0) return out.copy_(self);
  if (self._nnz() == 0) return at::native::mul_out_sparse_scalar(out, other, alpha);
  const auto dtype = at::result_type(self, other);
  auto addend = other._values().to(dtype);
  const auto augend = self._values().to(dtype);
  if (alpha.toComplexDouble() != 1.0) addend = addend.mul(alpha);
  auto indices = at::cat({self._indices(), other._indices()}, 1);
  auto values = at::cat({augend, addend}, 0);
  if (out.scalar_type() != dtype) {
    Tensor wide = at::empty({0}, out.options().dtype(dtype));
    wide.resize_as_(other);
    at::sparse::alias_into_sparse(wide, indices, values);
    wide = wide.coalesce();
    indices = wide._indices();
    values = wide._values().to(out.scalar_type());
  } else {
    out.resize_as_(other);
  }
  at::sparse::alias_into_sparse(out, indices, values);
  if (out._nnz() > out.numel()) {
    const auto sum = out.coalesce();
    at::sparse::alias_into_sparse(out, sum._indices(), sum._values());
  }
  return out;
}

Tensor& add_sparse(const Tensor& self, const Tensor& other, const c10::Scalar& alpha, Tensor& out) {
  TORCH_CHECK(self.sizes() == other.sizes(), "add: sparse tensors do not broadcast, got ", self.sizes(), " and ",
              other.sizes());
  if (!self.is_sparse()) return add_to_dense(out, self, other, alpha);
  TORCH_CHECK(other.is_sparse(), "add(sparse, dense) is not supported by PyTorch; use add(dense, sparse)");
  return add_to_sparse(out, self, other, alpha);
}

Tensor& multiply_sparse(const Tensor& self, const Tensor& other, Tensor& out) {
  if (!other.is_sparse()) return at::native::_mul_dense_sparse_out(other, self, out);
  if (!self.is_sparse()) return at::native::_mul_dense_sparse_out(self, other, out);
  if (other.dim() == 0) return at::native::_mul_sparse_sparse_zero_dim_out(other, self, out);
  if (self.dim() == 0) return at::native::_mul_sparse_sparse_zero_dim_out(self, other, out);
  throw Error(
      "rehearse: no rule says what multiplying two sparse tensors allocates on a GPU, so no forecast can be "
      "made: make one of them dense");
}

// A sparse matrix by a dense one: compressed rows in 32-bit indices, column-major operands, cuSPARSE.
// Source: s_addmm_out_sparse_dense_cuda in SparseCUDATensorMath.cu.
void multiply_sparse_into(Tensor& out, const Tensor& self, const Tensor& given, const Tensor& dense,
                          const c10::Scalar& beta) {
  const auto rows = given.size(0);
  const auto columns = dense.size(1);
  out.resize_({rows, columns});
  const auto sparse = given.coalesce();
  if (sparse._nnz() == 0) return;
  const auto ints = sparse._indices().options().dtype(at::kInt);
  const auto compressed = at::empty({rows + 1}, ints);
  static_cast<void>(at::empty({sparse._nnz()}, ints));
  const auto places = at::empty({sparse._nnz()}, ints);
  if (beta.toComplexDouble() != 0.0 && !self.is_same(out)) out.copy_(self.expand({rows, columns}));
  const bool column_major = out.stride(0) == 1 && out.stride(1) == out.size(0);
  const auto result = column_major ? out : out.t().clone(at::MemoryFormat::Contiguous);
  const bool readable = (dense.stride(0) == 1 && dense.stride(1) == dense.size(0)) ||
                        (dense.stride(1) == 1 && dense.stride(0) != columns);
  const auto operand = readable ? dense : dense.contiguous();
  const auto bytes = static_cast<std::int64_t>(result.nbytes());
  static_cast<void>(
      Memory::instance().allocate({1, Confidence::estimate, 1, std::max<std::int64_t>(bytes, 1)}, Guard::place()));
}

Tensor add_product(const Tensor& self, const Tensor& sparse, const Tensor& dense, const c10::Scalar& beta,
                   const c10::Scalar&) {
  Tensor out = at::empty({0}, self.options());
  multiply_sparse_into(out, self, sparse, dense, beta);
  return out;
}
Tensor& add_product_out(const Tensor& self, const Tensor& sparse, const Tensor& dense, const c10::Scalar& beta,
                        const c10::Scalar&, Tensor& out) {
  multiply_sparse_into(out, self, sparse, dense, beta);
  return out;
}
Tensor& add_product_in_place(Tensor& self, const Tensor& sparse, const Tensor& dense, const c10::Scalar& beta,
                             const c10::Scalar&) {
  multiply_sparse_into(self, self, sparse, dense, beta);
  return self;
}

Tensor flattened(const Tensor& indices, c10::IntArrayRef) {
  return at::empty({indices.size(1)}, indices.options().dtype(at::kLong));
}

bool is_shared(const std::string& op) {
  const auto all = sparse_operators();
  const auto found =
      std::lower_bound(all.begin(), all.end(), op, [](const auto& row, const auto& name) { return row.op < name; });
  return found != all.end() && found->op == op && found->shared;
}

}  // namespace

std::span<const SparseOperator> sparse_operators() {
  static constexpr SparseOperator all[] = {
#include "rehearse/phantom/sparse_operators.inc"
  };
  return all;
}

const Table& sparse_table() {
  static const Table all = [] {
    constexpr auto math = "aten/src/ATen/native/sparse/cuda/SparseCUDATensorMath.cu";
    Table table;
    table.typed<&coalesce_rows>("_coalesce",
                                "aten/src/ATen/native/sparse/cuda/SparseCUDATensor.cu; every index differs");
    table.typed<&add_sparse>("add.out", math);
    table.typed<&multiply_sparse>("mul.out", math);
    table.typed<&add_product>("addmm", math);
    table.typed<&add_product_out>("addmm.out", math);
    table.typed<&add_product_in_place>("addmm_", math);
    return table;
  }();
  return all;
}

void sparse_fallback(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const auto& signature = signature_of(op);
  if (!is_shared(signature.op)) throw_unknown_operator(op, "where a tensor is sparse");
  Scope scope(signature.name);
  enter(scope, *stack, op.schema().arguments().size());
  op.callBoxedForDispatchKey(c10::DispatchKey::SparseCPU, *stack);
}

void install_sparse_stubs(bool on) {
  at::native::flatten_indices_stub.set_cuda_dispatch_ptr(on ? &flattened : nullptr);
}

}  // namespace athanor::rehearse::phantom
