#pragma once
// Optimizers that divide the gradient by its own running size: RMSprop, Adagrad, Adadelta.
#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

/// Source: Tieleman & Hinton, "Lecture 6.5", 2012; centred: Graves, 2013; PyTorch's torch.optim.RMSprop.
struct RMSpropOptions {
  double lr = 1e-2;         ///< Step size, >= 0.
  double alpha = 0.99;      ///< Decay of the squared gradient's mean, >= 0.
  double eps = 1e-8;        ///< Added to its root, >= 0.
  double weight_decay = 0;  ///< Added to the gradient (L2), >= 0.
  double momentum = 0;      ///< Of the steps, >= 0; one more state tensor if above 0.
  bool centered = false;    ///< Divide by the standard deviation instead; one more state tensor.
  bool maximize = false;    ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

/// Source: Duchi, Hazan & Singer, 2011; PyTorch's torch.optim.Adagrad. Takes sparse gradients.
struct AdagradOptions {
  double lr = 1e-2;                      ///< Step size, >= 0.
  double lr_decay = 0;                   ///< The step shrinks as 1 / (1 + (step - 1) * lr_decay), >= 0.
  double weight_decay = 0;               ///< Added to the gradient (L2), >= 0.
  double initial_accumulator_value = 0;  ///< What the sum of squares starts from, >= 0.
  double eps = 1e-10;                    ///< Added to its root, >= 0.
  bool maximize = false;                 ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

/// Source: Zeiler, 2012; PyTorch's torch.optim.Adadelta.
struct AdadeltaOptions {
  double lr = 1.0;          ///< Factor of the step, >= 0.
  double rho = 0.9;         ///< Decay of both means, in [0, 1].
  double eps = 1e-6;        ///< Added under both roots, >= 0.
  double weight_decay = 0;  ///< Added to the gradient (L2), >= 0.
  bool maximize = false;    ///< Go up the gradient.

  void visit(Fields& fields);
  void check() const;
};

using RMSprop = OptimizerOf<RMSpropOptions>;
using Adagrad = OptimizerOf<AdagradOptions>;
using Adadelta = OptimizerOf<AdadeltaOptions>;

}  // namespace athanor::optim
