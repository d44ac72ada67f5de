#include "optim/Momentum.h"

#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <tuple>

namespace athanor::optim {
namespace {

// Calls `use` with the settings as the type they have, if it is one with a momentum.
template <class Use>
bool with_momentum(torch::optim::OptimizerOptions& options, Use use) {
  if (auto* sgd = dynamic_cast<torch::optim::SGDOptions*>(&options)) return use(sgd->momentum()), true;
  if (auto* rmsprop = dynamic_cast<torch::optim::RMSpropOptions*>(&options)) return use(rmsprop->momentum()), true;
  if (auto* adam = dynamic_cast<torch::optim::AdamOptions*>(&options)) return use(std::get<0>(adam->betas())), true;
  if (auto* adamw = dynamic_cast<torch::optim::AdamWOptions*>(&options)) return use(std::get<0>(adamw->betas())), true;
  return false;
}

}  // namespace

std::optional<double> momentum_of(torch::optim::OptimizerOptions& options) {
  std::optional<double> momentum;
  with_momentum(options, [&](double& value) { momentum = value; });
  return momentum;
}

bool set_momentum(torch::optim::OptimizerOptions& options, double momentum) {
  return with_momentum(options, [&](double& value) { value = momentum; });
}

}  // namespace athanor::optim
