#pragma once
#include <torch/nn/module.h>

#include "athanor/store/Safetensors.h"

namespace athanor::train {

/// A module's parameters and buffers by name, as Python's state_dict orders them: the live tensors, not copies.
store::NamedTensors weights_of(const torch::nn::Module& module);

/// Copies values into a module's parameters and buffers by name, in place. Throws athanor::Error if a name is missing
/// or left over, or a shape differs; `origin` begins the message. Nothing is copied then.
void copy_weights(const store::NamedTensors& from, torch::nn::Module& module, const std::string& origin);

}  // namespace athanor::train
