#pragma once
#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>

#include <optional>
#include <string_view>

namespace athanor::plan {

/// Floating-point operations of a matrix product, a convolution, an attention or their backward passes; nullopt for any
/// other operator, whose time is that of the bytes it moves. Formulas: 2·m·n·k a product; a convolution's backward is
/// one product of the forward's size for each gradient asked for; attention is two products forward and five backward
/// (Dao et al., FlashAttention-2, 2023), half of them where it is causal.
bool has_flops(std::string_view op);
std::optional<double> flops(std::string_view op, c10::ArrayRef<c10::IValue> inputs);

}  // namespace athanor::plan
