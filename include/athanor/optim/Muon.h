#pragma once
#include <array>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {

/// Momentum made orthogonal: every direction of a weight matrix moves at the same rate. For the matrices of hidden
/// layers; embeddings, the last layer, norms and biases go into groups with `adamw = true`, which are plain AdamW.
/// Source: Jordan et al., "Muon", 2024; PyTorch's torch.optim.Muon (which has no AdamW groups).
struct MuonOptions {
  double lr = 1e-3;           ///< Step size, >= 0.
  double weight_decay = 0.1;  ///< Weights shrink by lr * weight_decay a step, >= 0.
  double momentum = 0.95;     ///< >= 0.
  bool nesterov = true;       ///< Look ahead along the momentum.
  std::array<double, 3> ns_coefficients = {3.4445, -4.7750, 2.0315};  ///< Of the Newton-Schulz iteration (quintic).
  double eps = 1e-7;                                                  ///< Floor of a matrix's norm.
  std::int64_t ns_steps = 5;                                          ///< Iterations, 0 to 99.
  /// How the rate depends on the shape: "original" sqrt(max(1, rows / columns)), "match_rms_adamw" 0.2 sqrt(max(rows,
  /// columns)), "spectral_unclamped" sqrt(rows / columns), "none".
  std::string adjust_lr_fn = "original";
  bool maximize = false;  ///< Go up the gradient.
  bool adamw = false;     ///< This group is AdamW's, with lr, weight_decay and the two below.
  std::array<double, 2> adamw_betas = {0.9, 0.999};
  double adamw_eps = 1e-8;

  void visit(Fields& fields);
  void check() const;
};

using Muon = OptimizerOf<MuonOptions>;

}  // namespace athanor::optim
