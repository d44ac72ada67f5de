#pragma once
#include <cstdint>
#include <string>

#include "athanor/optim/Fields.h"

namespace athanor::optim {

/// How an optimizer stores its state and rounds its parameters.
struct Storage {
  /// "same": state in the parameter's dtype, as PyTorch. "fp32": state of bfloat16 parameters in float.
  /// "8bit": state in one byte an element, by blocks of 256, logarithmic codes, rounded up or down at random so that
  /// slow averages do not stand still; tensors under 4,096 elements keep float.
  std::string states = "same";
  /// bfloat16 parameters only. "nearest": as PyTorch. "stochastic": rounded up or down at random, right in the mean.
  /// "kahan": what rounding lost is kept in a second bfloat16 and added at the next step.
  std::string rounding = "nearest";
  std::int64_t seed = 0;  ///< Of rounding at random: the noise is a function of seed, step, parameter and element.

  void visit(Fields& fields);
  void check(const char* kind) const;
};

}  // namespace athanor::optim
