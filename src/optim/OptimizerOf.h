#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "athanor/optim/Optimizer.h"
#include "optim/Method.h"

namespace athanor::optim {

// An optimizer's file defines make_method(const ItsOptions&) and instantiates OptimizerOf<ItsOptions>.

template <class Options>
OptimizerOf<Options>::OptimizerOf(const std::vector<torch::optim::OptimizerParamGroup>& groups, Options defaults)
    : Optimizer(groups, std::make_unique<GroupOptions<Options>>(defaults), make_method(defaults)) {}

template <class Options>
OptimizerOf<Options>::OptimizerOf(std::vector<at::Tensor> parameters, Options defaults)
    : OptimizerOf(std::vector<torch::optim::OptimizerParamGroup>{std::move(parameters)}, std::move(defaults)) {}

}  // namespace athanor::optim
