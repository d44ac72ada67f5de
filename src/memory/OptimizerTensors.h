#pragma once
#include <torch/optim/optimizer.h>

#include <vector>

namespace athanor::memory {

/// The tensors that an optimizer remembers: LibTorch's optimizers and ours. Those of another kind are not seen.
std::vector<at::Tensor> tensors_of(const torch::optim::Optimizer& optimizer);

}  // namespace athanor::memory
