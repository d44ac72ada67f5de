#include "athanor/models/Activation.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>

#include <array>

namespace athanor::models {

at::Tensor activate(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::gelu:
      return at::gelu(x);
    case Activation::silu:
      return at::silu(x);
    case Activation::tanh:
      return at::tanh(x);
    case Activation::relu:
      break;
  }
  return at::relu(x);
}

Activation activation_from(const core::Config& table, const std::string& fallback) {
  static const std::array<std::string, 4> names{"relu", "gelu", "silu", "tanh"};
  const auto name = table.choice("activation", fallback, names);
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<Activation>(i);
  return Activation::relu;  // choice() lets nothing else through
}

}  // namespace athanor::models
