#pragma once
#include <array>

#include "athanor/optim/Optimizer.h"
#include "athanor/optim/Storage.h"

namespace athanor::optim {

/// Adam with the decay added to the gradient (L2). Source: Kingma & Ba, 2015; PyTorch's torch.optim.Adam.
struct AdamOptions {
  double lr = 1e-3;                            ///< Step size, >= 0.
  std::array<double, 2> betas = {0.9, 0.999};  ///< Decay of the first and second moment, each in [0, 1).
  double eps = 1e-8;                           ///< Added to the root of the second moment, >= 0.
  double weight_decay = 0;                     ///< >= 0.
  bool amsgrad = false;                        ///< Divide by the largest second moment so far; one more state tensor.
  bool maximize = false;                       ///< Go up the gradient.
  bool decoupled_weight_decay = false;         ///< Shrink the weights instead: AdamW.
  Storage storage = {};

  void visit(Fields& fields);
  void check() const;
};

/// Adam with decoupled weight decay. Source: Loshchilov & Hutter, 2019; PyTorch's torch.optim.AdamW.
struct AdamWOptions {
  double lr = 1e-3;                            ///< Step size, >= 0.
  std::array<double, 2> betas = {0.9, 0.999};  ///< Decay of the first and second moment, each in [0, 1).
  double eps = 1e-8;                           ///< Added to the root of the second moment, >= 0.
  double weight_decay = 1e-2;                  ///< Weights shrink by lr * weight_decay a step, >= 0.
  bool amsgrad = false;                        ///< Divide by the largest second moment so far; one more state tensor.
  bool maximize = false;                       ///< Go up the gradient.
  Storage storage = {};

  void visit(Fields& fields);
  void check() const;
};

using Adam = OptimizerOf<AdamOptions>;
using AdamW = OptimizerOf<AdamWOptions>;

}  // namespace athanor::optim
