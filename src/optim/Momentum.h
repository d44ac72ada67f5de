#pragma once
#include <torch/optim/optimizer.h>

#include <optional>

namespace athanor::optim {

/// The momentum of a parameter group: `momentum`, or the first of `betas`. nullopt if its optimizer has neither, or is
/// of a kind we do not know.
std::optional<double> momentum_of(torch::optim::OptimizerOptions& options);

/// Sets it. Returns whether there is one.
bool set_momentum(torch::optim::OptimizerOptions& options, double momentum);

}  // namespace athanor::optim
