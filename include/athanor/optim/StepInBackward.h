#pragma once
#include <torch/nn/module.h>

#include <cstdint>
#include <memory>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

/// What the training loop does besides, so that what cannot go together is refused.
struct InBackwardUse {
  double clip_norm = 0;         ///< Clipping by the norm of all gradients: wants them all at once.
  std::int64_t accumulate = 1;  ///< Micro-batches a step: the gradient is complete only after the last.
  bool grad_scaler = false;     ///< Skips a step by looking at all gradients.
};

/// While it lives, the optimizer's steps are made in backward().
class InBackward {
 public:
  ~InBackward();
  InBackward(InBackward&&) noexcept;
  InBackward& operator=(InBackward&&) noexcept;

 private:
  friend InBackward step_in_backward(Optimizer&, torch::nn::Module&, InBackwardUse);
  struct Shared;
  explicit InBackward(std::shared_ptr<Shared> shared);
  std::shared_ptr<Shared> shared_;
};

/// Updates each parameter in backward() as soon as its gradient is complete, and frees the gradient: all gradients
/// together never exist, which saves their memory. The result has the same bits as backward() followed by step(). Do
/// not call step() or zero_grad(); the learning rate may be changed between calls of backward(). A parameter must be
/// used in one place of the graph or its uses must all be part of one backward(). The model must outlive nothing: hooks
/// end with the object. Throws std::invalid_argument, with the reason, for clipping by norm, accumulation, a gradient
/// scaler, and LBFGS.
[[nodiscard]] InBackward step_in_backward(Optimizer& optimizer, torch::nn::Module& model, InBackwardUse use = {});

}  // namespace athanor::optim
