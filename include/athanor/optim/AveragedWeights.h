#pragma once
#include <torch/optim/optimizer.h>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

/// While it lives, a schedule-free optimizer's averaged weights are in the parameters: for validation, and for the
/// weights that are kept as the best. Then the training weights are back, to the bit. Does nothing for all other
/// optimizers.
class AveragedWeights {
 public:
  explicit AveragedWeights(torch::optim::Optimizer& optimizer) : optimizer_(dynamic_cast<Optimizer*>(&optimizer)) {
    if (optimizer_ != nullptr) optimizer_->eval();
  }
  ~AveragedWeights() {
    if (optimizer_ != nullptr) optimizer_->train();
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  Optimizer* optimizer_;
};

}  // namespace athanor::optim
