#pragma once
#include <ATen/core/dispatch/Dispatcher.h>

#include <string_view>

namespace athanor::rehearse::phantom {

/// Says which operator nobody knows, what it was given, and how its rule is added. Always throws athanor::Error.
[[noreturn]] void throw_unknown_operator(const c10::OperatorHandle& op, std::string_view when = "");

/// An operator got tensors of two devices, which it would refuse on a GPU too. Throws std::invalid_argument.
[[noreturn]] void throw_other_device(std::string_view op, const at::Tensor& there, const at::Tensor& other);

/// A size or a value that depends on what is in memory, which a rehearsal does not have. Throws std::invalid_argument
/// with the mend: state a bound, or the value, in the rehearsal's options.
[[noreturn]] void throw_data_dependent(std::string_view op, std::string_view mend);

}  // namespace athanor::rehearse::phantom
