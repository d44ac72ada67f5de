#include "optim/Momentum.h"

#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <string_view>
#include <tuple>

#include "athanor/optim/Optimizer.h"

namespace athanor::optim {
namespace {

// Finds it among the settings of one of our own optimizers: `momentum`, or the first of `betas`.
class Find final : public Fields {
 public:
  void field(const char* name, double& value) override {
    if (std::string_view(name) == "momentum") found = &value;
  }
  void field(const char*, bool&) override {}
  void field(const char*, std::int64_t&) override {}
  void field(const char*, std::string&) override {}
  void field(const char* name, double* values, std::size_t size) override {
    if (std::string_view(name) == "betas" && size > 0) found = values;
  }
  double* found = nullptr;
};

// Calls `use` with the settings as the type they have, if it is one with a momentum.
template <class Use>
bool with_momentum(torch::optim::OptimizerOptions& options, Use use) {
  if (auto* ours = dynamic_cast<AnyOptions*>(&options)) {
    Find find;
    ours->visit(find);
    if (find.found) use(*find.found);
    return find.found != nullptr;
  }
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
