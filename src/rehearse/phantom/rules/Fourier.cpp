// Fourier transforms. cuFFT's plans want scratch of about the signal's size where lengths are not small primes'
// products.
#include <ATen/WrapDimUtils.h>

#include <algorithm>

#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

using Sizes = std::vector<std::int64_t>;

void plan_scratch(const Call& call, const at::Tensor& signal) {
  const auto bytes = static_cast<std::int64_t>(signal.nbytes());
  static_cast<void>(call.scratch(bytes, Confidence::estimate, 0, 2 * bytes));
}

// Results lie as cuFFT writes them: batch dimensions by falling stride, then those transformed.
at::Tensor transformed(const Call& call, const Sizes& sizes, c10::ScalarType dtype, const at::Tensor& self,
                       const Sizes& dims) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    if (std::find(dims.begin(), dims.end(), static_cast<std::int64_t>(i)) == dims.end()) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return self.strides()[a] > self.strides()[b]; });
  for (const auto dim : dims) order.push_back(static_cast<std::size_t>(dim));
  Sizes strides(sizes.size());
  std::int64_t stride = 1;
  for (auto dim = order.rbegin(); dim != order.rend(); ++dim) {
    strides[*dim] = stride;
    stride *= std::max<std::int64_t>(1, sizes[*dim]);
  }
  auto result = make_strided(sizes, strides, dtype);
  plan_scratch(call, result);
  return result;
}

Sizes dims_of(const Call& call) {
  auto dims = call.integers(1);
  for (auto& dim : dims) dim = at::maybe_wrap_dim(dim, call.tensor(0).dim());
  return dims;
}

// _fft_c2c(self, dim, normalization, forward)
void complex_to_complex(Call& call) {
  const auto& self = call.tensor(0);
  const auto dims = dims_of(call);
  if (dims.empty()) return call.returns({self.clone()});
  call.returns({transformed(call, self.sizes().vec(), self.scalar_type(), self, dims)});
}

// _fft_r2c(self, dim, normalization, onesided): the last dimension first, half of it or all; then the others.
void real_to_complex(Call& call) {
  const auto& self = call.tensor(0);
  auto dims = dims_of(call);
  auto sizes = self.sizes().vec();
  const auto last = dims.back();
  if (call.flag(3)) sizes[static_cast<std::size_t>(last)] = sizes[static_cast<std::size_t>(last)] / 2 + 1;
  const auto dtype = c10::toComplexType(self.scalar_type());
  auto output = transformed(call, sizes, dtype, self, {last});
  dims.pop_back();
  if (!dims.empty()) output = transformed(call, sizes, dtype, output, dims);
  call.returns({output});
}

// _fft_c2r(self, dim, normalization, last_dim_size): the last dimension last. cuFFT may overwrite its input, so it gets
// a copy.
void complex_to_real(Call& call) {
  const auto& self = call.tensor(0);
  auto dims = dims_of(call);
  const auto last = dims.back();
  dims.pop_back();
  const auto copy =
      dims.empty() ? call.empty_like(self) : transformed(call, self.sizes().vec(), self.scalar_type(), self, dims);
  auto sizes = self.sizes().vec();
  sizes[static_cast<std::size_t>(last)] = call.integer(3);
  call.returns({transformed(call, sizes, c10::toRealValueType(self.scalar_type()), copy, {last})});
}

}  // namespace

void add_fourier(Table& table) {
  constexpr auto source = "aten/src/ATen/native/cuda/SpectralOps.cpp; the plan's scratch is cuFFT's choice";
  table.rule("_fft_c2c", &complex_to_complex, source, Confidence::estimate);
  table.rule("_fft_r2c", &real_to_complex, source, Confidence::estimate);
  table.rule("_fft_c2r", &complex_to_real, source, Confidence::estimate);
}

}  // namespace athanor::rehearse::phantom
