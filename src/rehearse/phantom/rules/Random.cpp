// Random numbers: the kernels draw in place; these make what they fill.
#include "rehearse/phantom/Elementwise.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {

void add_random(Table& table) {
  constexpr auto source = "aten/src/ATen/native/cuda/Distributions.cu";
  table.rule("poisson binomial _standard_gamma _sample_dirichlet", &elementwise_rule, source);
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
