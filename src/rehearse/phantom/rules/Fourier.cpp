// Fourier transforms. cuFFT's plans want scratch of about the signal's size where lengths are not small primes'
// products.
#include <ATen/WrapDimUtils.h>

#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

void plan_scratch(const Call& call, const at::Tensor& signal) {
  const auto bytes = static_cast<std::int64_t>(signal.nbytes());
  static_cast<void>(call.scratch(bytes, Confidence::estimate, 0, 2 * bytes));
}

// _fft_c2c(self, dim, normalization, forward)
void complex_to_complex(Call& call) {
  const auto& self = call.tensor(0);
  auto output = call.empty(self.sizes(), self.scalar_type());
  plan_scratch(call, output);
  call.returns({output});
}

// _fft_r2c(self, dim, normalization, onesided): half of the last transformed dimension, or all of it.
void real_to_complex(Call& call) {
  const auto& self = call.tensor(0);
  auto sizes = self.sizes().vec();
  const auto last = static_cast<std::size_t>(at::maybe_wrap_dim(call.integers(1).back(), self.dim()));
  if (call.flag(3)) sizes[last] = sizes[last] / 2 + 1;
  auto output = call.empty(sizes, c10::toComplexType(self.scalar_type()));
  plan_scratch(call, output);
  call.returns({output});
}

// _fft_c2r(self, dim, normalization, last_dim_size): cuFFT may overwrite its input, so it gets a copy.
void complex_to_real(Call& call) {
  const auto& self = call.tensor(0);
  auto sizes = self.sizes().vec();
  sizes[static_cast<std::size_t>(at::maybe_wrap_dim(call.integers(1).back(), self.dim()))] = call.integer(3);
  auto output = call.empty(sizes, c10::toRealValueType(self.scalar_type()));
  const auto copy = call.empty(self.sizes(), self.scalar_type());
  plan_scratch(call, copy);
  call.returns({output});
}

}  // namespace

void add_fourier(Table& table) {
  constexpr auto source = "aten/src/ATen/native/cuda/SpectralOps.cpp; the plan's scratch is cuFFT's choice";
  table.rule("_fft_c2c", &complex_to_complex, source, Confidence::estimate);
  table.rule("_fft_r2c", &real_to_complex, source, Confidence::estimate);
  table.rule("_fft_c2r", &complex_to_real, source, Confidence::estimate);
}

}  // namespace athanor::rehearse::phantom
