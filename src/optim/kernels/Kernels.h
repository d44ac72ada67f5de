#pragma once
#include "optim/engine/Kernel.h"

namespace athanor::optim {

// The kernels of each rule for the best instruction set this processor has.
engine::Kernels adam_kernels();
engine::Kernels adam_amsgrad_kernels();
engine::Kernels sgd_kernels();
engine::Kernels sgd_momentum_kernels();
engine::Kernels rmsprop_kernels();
engine::Kernels rmsprop_momentum_kernels();
engine::Kernels rmsprop_centered_kernels();
engine::Kernels rmsprop_centered_momentum_kernels();
engine::Kernels adagrad_kernels();
engine::Kernels adadelta_kernels();
engine::Kernels adamax_kernels();
engine::Kernels nadam_kernels();
engine::Kernels radam_kernels();
engine::Kernels asgd_kernels();
engine::Kernels rprop_kernels();
engine::Kernels lion_kernels();
engine::Kernels ademamix_kernels();
engine::Kernels schedule_free_adamw_kernels();
engine::Kernels schedule_free_sgd_kernels();

}  // namespace athanor::optim
