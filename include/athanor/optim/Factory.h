#pragma once
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <memory>
#include <string>
#include <vector>

#include "athanor/core/Config.h"

namespace athanor::optim {

/// The optimizer that a TOML table asks for: `kind` and the settings of docs/optimizers.md, each with its default.
/// Parameters that do not require a gradient are left out. `decay_norms_and_biases = false` keeps weight decay off
/// parameters of fewer than two dimensions; `layer_decay` < 1 lowers the rate layer by layer from the last.
/// Unknown kinds and values out of range throw std::invalid_argument with file, line and key.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(const core::Config& table, torch::nn::Module& model);

/// "adam", "adamw", …: what `kind` may be.
const std::vector<std::string>& optimizer_kinds();

}  // namespace athanor::optim
