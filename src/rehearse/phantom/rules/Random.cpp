// Random numbers: the kernels draw in place; these make what they fill.
#include "rehearse/phantom/Elementwise.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

// multinomial(self, num_samples, replacement): drawn from running sums with replacement, as the largest of exponentials
// without.
void multinomial(Call& call) {
  const auto& self = call.tensor(0);
  auto sizes = self.sizes().vec();
  sizes.back() = call.integer(1);
  auto result = call.empty(sizes, at::kLong);
  const auto chances = call.empty_like(self);
  at::Tensor more;
  if (call.flag(2))
    more = call.empty_like(self);
  else if (call.integer(1) > 1)
    more = call.empty(sizes, self.scalar_type());
  call.returns({result});
}

// _philox_key_split(key, num_splits)
void split_key(Call& call) {
  auto sizes = call.tensor(0).sizes().vec();
  sizes.insert(sizes.begin(), call.integer(1));
  call.returns({call.empty(sizes, call.tensor(0).scalar_type())});
}

}  // namespace

void add_random(Table& table) {
  constexpr auto source = "aten/src/ATen/native/cuda/Distributions.cu";
  table.rule("poisson binomial _standard_gamma _sample_dirichlet", &elementwise_rule, source);
  table.rule("_philox_key_split", &split_key, "aten/src/ATen/native/cuda/PhiloxRandom.cu");
  table.rule(
      "_philox_key_fold_in _philox_key_fold_in.Tensor",
      [](Call& call) { call.returns({call.empty_like(call.tensor(0))}); }, "aten/src/ATen/native/cuda/PhiloxRandom.cu");
  table.rule("multinomial", &multinomial, "aten/src/ATen/native/Distributions.cpp");
  table.rule("bernoulli.out", &elementwise_out_rule, source);
  table.rule(
      "randperm.generator_out",
      [](Call& call) {
        call.tensor(2).resize_({call.integer(0)});
        call.returns_written();
      },
      "aten/src/ATen/native/cuda/Randperm.cu");
}

}  // namespace athanor::rehearse::phantom
