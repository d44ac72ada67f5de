#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "athanor/rehearse/Rule.h"

namespace athanor::rehearse::phantom {

/// What PyTorch's TensorIterator allocates for an elementwise operator: the broadcast result, laid out as its inputs
/// are.
[[nodiscard]] at::Tensor elementwise(const std::vector<at::Tensor>& inputs, c10::ScalarType dtype);

/// The tensor arguments that are read, in order.
[[nodiscard]] std::vector<at::Tensor> inputs_of(const Call& call);

/// Rules: the result has the first input's dtype (promoted over all inputs), a bool's, or goes into the out= arguments.
void elementwise_rule(Call& call);
void elementwise_bool_rule(Call& call);
void elementwise_out_rule(Call& call);

}  // namespace athanor::rehearse::phantom
