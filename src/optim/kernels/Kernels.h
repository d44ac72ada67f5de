#pragma once
#include "optim/engine/Kernel.h"

namespace athanor::optim {

// The kernels of each rule for the best instruction set this processor has.
engine::Kernels adam_kernels();
engine::Kernels adam_amsgrad_kernels();
engine::Kernels sgd_kernels();
engine::Kernels sgd_momentum_kernels();

}  // namespace athanor::optim
