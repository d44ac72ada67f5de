// Linear algebra that Meta does not know. The scratch of cuSOLVER and MAGMA is theirs to choose: a bound is stated.
#include <ATen/ExpandUtils.h>
#include <ATen/ops/empty_like.h>

#include "rehearse/phantom/Products.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

using Sizes = std::vector<std::int64_t>;

Sizes batch_of(const at::Tensor& matrix) {
  return {matrix.sizes().begin(), matrix.sizes().end() - 2};
}

Sizes with(Sizes sizes, std::initializer_list<std::int64_t> last) {
  sizes.insert(sizes.end(), last);
  return sizes;
}

// Column-major, as LAPACK and cuSOLVER write.
at::Tensor column_major(const Call& call, const Sizes& batch, std::int64_t rows, std::int64_t columns,
                        c10::ScalarType dtype) {
  return call.empty(with(batch, {columns, rows}), dtype).mT();
}

void solver_scratch(const Call& call, const at::Tensor& matrix) {
  static_cast<void>(call.scratch(1, Confidence::estimate, 1, 4 * static_cast<std::int64_t>(matrix.nbytes())));
}

// A factorisation of self's shape, column by column.
void factor(Call& call) {
  const auto& self = call.tensor(0);
  auto result = column_major(call, batch_of(self), self.size(-2), self.size(-1), self.scalar_type());
  solver_scratch(call, self);
  call.returns({result});
}

// _cholesky_solve_helper(self, A, upper)
void like_self_columns(Call& call) {
  factor(call);
}

// geqrf(self): the reflectors, and a factor for each.
void geqrf(Call& call) {
  const auto& self = call.tensor(0);
  auto reflectors = column_major(call, batch_of(self), self.size(-2), self.size(-1), self.scalar_type());
  auto factors = call.empty(with(batch_of(self), {std::min(self.size(-1), self.size(-2))}), self.scalar_type());
  solver_scratch(call, self);
  call.returns({reflectors, factors});
}

// ormqr(self, tau, other, …): of other's shape.
void ormqr(Call& call) {
  const auto& other = call.tensor(2);
  auto result = column_major(call, batch_of(other), other.size(-2), other.size(-1), other.scalar_type());
  solver_scratch(call, call.tensor(0));
  call.returns({result});
}

// linalg_eig(self): complex eigenvalues and eigenvectors; linalg_eigvals the first alone. MAGMA works on the host.
void eigen(Call& call) {
  const auto& self = call.tensor(0);
  const auto dtype = c10::toComplexType(self.scalar_type());
  auto values = call.empty(with(batch_of(self), {self.size(-1)}), dtype);
  if (call.op().schema().returns().size() == 1) return call.returns({values});
  call.returns({values, call.empty(self.sizes(), dtype)});
}

// linalg_solve_triangular(self, B, upper, left, unitriangular): of B's shape, with self's batch broadcast.
void solve_triangular(Call& call) {
  const auto& a = call.tensor(0);
  const auto& b = call.tensor(1);
  auto batch = batch_of(a).size() > batch_of(b).size() ? batch_of(a) : batch_of(b);
  auto result = column_major(call, batch, b.size(-2), b.size(-1), b.scalar_type());
  take_cublas_workspace();
  call.returns({result});
}

// linalg_matrix_exp(self): powers of the matrix and linear combinations of them.
void matrix_exp(Call& call) {
  const auto& self = call.tensor(0);
  auto result = call.empty_like(self);
  const auto bytes = static_cast<std::int64_t>(self.nbytes());
  static_cast<void>(call.scratch(4 * bytes, Confidence::estimate, bytes, 8 * bytes));
  take_cublas_workspace();
  call.returns({result});
}

// addr(self, vec1, vec2) and addbmm(self, batch1, batch2)
void outer(Call& call) {
  call.returns({call.empty({call.tensor(1).size(0), call.tensor(2).size(0)}, call.tensor(0).scalar_type())});
}
void addbmm(Call& call) {
  auto result = call.empty({call.tensor(1).size(1), call.tensor(2).size(2)}, call.tensor(0).scalar_type());
  take_cublas_workspace();
  call.returns({result});
}

// _linalg_svd(A, full_matrices, compute_uv, driver): as Meta says, but the right vectors lie row by row.
void svd(Call& call) {
  const at::Tensor self = call.tensor(0);
  const auto rows = self.size(-2);
  const auto columns = self.size(-1);
  const auto least = std::min(rows, columns);
  const bool full = call.flag(1);
  const bool vectors = call.flag(2);
  const auto batch = batch_of(self);
  auto u = vectors ? column_major(call, batch, rows, full ? rows : least, self.scalar_type())
                   : call.empty({0}, self.scalar_type());
  auto s = call.empty(with(batch, {least}), c10::toRealValueType(self.scalar_type()));
  auto v = call.empty(vectors ? with(batch, {full ? columns : least, columns}) : Sizes{0}, self.scalar_type());
  solver_scratch(call, self);
  call.returns({u, s, v});
}

// Decompositions whose shapes Meta knows, and whose scratch is the solver's.
void decompose(Call& call) {
  const at::Tensor self = call.tensor(0);
  call.by_shape_alone();
  solver_scratch(call, self);
}

// linalg_lstsq.out(self, B, rcond, *, driver, solution, residuals, rank, singular_values): QR, the one way there is on
// CUDA, of copies column by column. It tells neither rank nor singular values.
void least_squares(Call& call) {
  const at::Tensor a = call.tensor(0);
  const at::Tensor b = call.tensor(1);
  const auto rows = a.size(-2);
  const auto columns = a.size(-1);
  const bool vector = b.dim() == 1 || (b.dim() == a.dim() - 1 &&
                                       b.sizes() == a.sizes().slice(0, static_cast<std::size_t>(a.dim()) - 1));
  const auto right = vector ? b.unsqueeze(-1) : b;
  const auto batch = at::infer_size(batch_of(a), batch_of(right));
  const auto solutions = right.size(-1);
  call.tensor(4).resize_(vector ? with(batch, {columns}) : with(batch, {columns, solutions}));
  call.tensor(5).resize_(rows > columns ? with(batch, vector ? std::initializer_list<std::int64_t>{}
                                                             : std::initializer_list<std::int64_t>{solutions})
                                        : Sizes{0});
  call.tensor(6).resize_({0});
  call.tensor(7).resize_({0});
  const auto reflectors = column_major(call, batch_of(a), rows, columns, a.scalar_type());
  const auto working = column_major(call, batch, std::max(rows, columns), solutions, a.scalar_type());
  const auto factors = call.empty(with(batch_of(a), {std::min(rows, columns)}), a.scalar_type());
  solver_scratch(call, a);
  take_cublas_workspace();
  call.returns_written();
}

// _compute_linear_combination(input, coefficients)
void combine(Call& call) {
  auto sizes = call.tensor(0).sizes().vec();
  sizes.front() = call.tensor(1).size(0);
  call.returns({call.empty(sizes, call.tensor(0).scalar_type())});
}

}  // namespace

void add_linear_algebra(Table& table) {
  constexpr auto solver = "aten/src/ATen/native/cuda/linalg/BatchLinearAlgebra.cpp; the scratch is the solver's choice";
  table.rule("cholesky cholesky_inverse linalg_householder_product", &factor, solver, Confidence::estimate);
  table.rule("_cholesky_solve_helper", &like_self_columns, solver, Confidence::estimate);
  table.rule("geqrf", &geqrf, solver, Confidence::estimate);
  table.rule("ormqr", &ormqr, solver, Confidence::estimate);
  table.rule("linalg_eig _linalg_eigvals", &eigen, solver, Confidence::estimate);
  table.rule("linalg_solve_triangular", &solve_triangular, "aten/src/ATen/native/BatchLinearAlgebra.cpp");
  table.rule("linalg_matrix_exp linalg_matrix_sqrth", &matrix_exp, "aten/src/ATen/native/LinearAlgebra.cpp",
             Confidence::estimate);
  table.rule("linalg_lstsq.out", &least_squares, solver, Confidence::estimate);
  table.rule("_compute_linear_combination", &combine, "aten/src/ATen/native/cuda/LinearAlgebra.cu");
  table.rule("_linalg_svd", &svd, solver, Confidence::estimate);
  table.rule("addr", &outer, "aten/src/ATen/native/LinearAlgebra.cpp");
  table.rule("addbmm", &addbmm, "aten/src/ATen/native/LinearAlgebra.cpp");
  table.rule(
      "linalg_cholesky_ex linalg_inv_ex _linalg_eigh linalg_lu_factor_ex linalg_qr _linalg_solve_ex "
      "_linalg_det _linalg_slogdet linalg_lu linalg_ldl_factor_ex",
      &decompose, solver, Confidence::estimate);
}

}  // namespace athanor::rehearse::phantom
