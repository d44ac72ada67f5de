#pragma once
#include "athanor/optim/Optimizer.h"
#include "athanor/optim/Storage.h"

namespace athanor::optim {

/// Stochastic gradient descent with momentum. Source: Sutskever et al., 2013, in the form of PyTorch's torch.optim.SGD
/// (the first momentum is the gradient itself; the learning rate multiplies the momentum).
struct SGDOptions {
  double lr = 1e-3;         ///< Step size, >= 0.
  double momentum = 0;      ///< Decay of the momentum, >= 0; 0 keeps no state.
  double dampening = 0;     ///< The gradient enters the momentum with 1 - dampening.
  double weight_decay = 0;  ///< Added to the gradient (L2), >= 0.
  bool nesterov = false;    ///< Look ahead along the momentum; wants momentum > 0 and dampening 0.
  bool maximize = false;    ///< Go up the gradient.
  Storage storage = {};

  void visit(Fields& fields);
  void check() const;
};

using SGD = OptimizerOf<SGDOptions>;

}  // namespace athanor::optim
