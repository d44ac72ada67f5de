#pragma once
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>

namespace athanor::rehearse::phantom {

/// The form of an out= operator that makes its results itself and is served without the out= form: by a rule, or by a
/// shape function. None: the operator has no out= arguments, or there is no such form.
std::optional<c10::OperatorHandle> functional_form(const c10::OperatorHandle& op);

/// Serves an out= operator as its functional form: everything that one allocates but the results, for which the given
/// tensors are resized.
void write_out(const c10::OperatorHandle& op, const c10::OperatorHandle& functional, torch::jit::Stack* stack);

}  // namespace athanor::rehearse::phantom
