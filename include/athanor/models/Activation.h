#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "athanor/core/Config.h"

namespace athanor::models {

enum class Activation { relu, gelu, silu, tanh };

at::Tensor activate(Activation activation, const at::Tensor& x);

/// Reads the key "activation" of a model's table.
Activation activation_from(const core::Config& table, const std::string& fallback);

}  // namespace athanor::models
