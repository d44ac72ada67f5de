#include "memory/OptimizerTensors.h"

#include <torch/optim.h>

#include "athanor/optim/Optimizer.h"

namespace athanor::memory {
namespace {

template <class State, class... Read>
bool collect(std::vector<at::Tensor>& tensors, torch::optim::OptimizerParamState& state, Read... read) {
  auto* typed = dynamic_cast<State*>(&state);
  if (typed == nullptr) return false;
  (tensors.push_back(std::invoke(read, typed)), ...);
  return true;
}

#define ATHANOR_READ(name) [](auto* typed) { return typed->name(); }
void collect_any(std::vector<at::Tensor>& tensors, torch::optim::OptimizerParamState& state) {
  if (const auto* ours = dynamic_cast<const optim::ParamState*>(&state)) {
    tensors.insert(tensors.end(), ours->slots.begin(), ours->slots.end());
    tensors.push_back(ours->device_step);
    return;
  }
  using namespace torch::optim;  // NOLINT: names of one library, in one function
  collect<AdamWParamState>(tensors, state, ATHANOR_READ(exp_avg), ATHANOR_READ(exp_avg_sq),
                           ATHANOR_READ(max_exp_avg_sq)) ||
      collect<AdamParamState>(tensors, state, ATHANOR_READ(exp_avg), ATHANOR_READ(exp_avg_sq),
                              ATHANOR_READ(max_exp_avg_sq)) ||
      collect<SGDParamState>(tensors, state, ATHANOR_READ(momentum_buffer)) ||
      collect<RMSpropParamState>(tensors, state, ATHANOR_READ(square_avg), ATHANOR_READ(momentum_buffer),
                                 ATHANOR_READ(grad_avg)) ||
      collect<AdagradParamState>(tensors, state, ATHANOR_READ(sum)) ||
      collect<LBFGSParamState>(tensors, state, ATHANOR_READ(d), ATHANOR_READ(prev_flat_grad));
}
#undef ATHANOR_READ

}  // namespace

std::vector<at::Tensor> tensors_of(const torch::optim::Optimizer& optimizer) {
  std::vector<at::Tensor> tensors;
  for (const auto& [parameter, state] : optimizer.state()) collect_any(tensors, *state);
  return tensors;
}

}  // namespace athanor::memory
