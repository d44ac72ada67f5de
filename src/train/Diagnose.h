#pragma once
#include <string>

#include "athanor/train/Step.h"

namespace athanor::train {

/// In words, the first tensor of a training step that is not finite: the inputs, then a parameter or buffer by name,
/// then the first operator of a forward pass whose result is not, though what went in is. Runs the forward pass again.
std::string first_non_finite(const Step& step, const data::Batch& batch);

/// The name of the first parameter or buffer that is not finite; empty if all are. Reads one value off the device.
std::string non_finite_weight(const torch::nn::Module& model);

}  // namespace athanor::train
