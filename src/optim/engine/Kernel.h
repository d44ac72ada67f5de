#pragma once
#include <cstdint>

namespace athanor::optim::engine {

constexpr int max_slots = 4;

/// One parameter tensor as the engine sees it: where its elements are. All arrays have the same order of elements.
struct Row {
  void* param = nullptr;
  const void* grad = nullptr;
  void* slots[max_slots] = {};
  float* scales[max_slots] = {};       ///< 8-bit slots: the largest magnitude of each block of 256.
  void* compensation = nullptr;        ///< Kahan: what rounding lost, bfloat16.
  const void* coefficients = nullptr;  ///< The rule's own struct.
  std::uint64_t noise = 0;             ///< Stochastic rounding: key of this parameter and step.
};

/// The key of an 8-bit slot's noise: another than its neighbour's and the parameter's own.
constexpr std::uint64_t slot_noise(std::uint64_t noise, int slot) {
  return noise ^ (0x9E3779B97F4A7C15U * (static_cast<std::uint64_t>(slot) + 1));
}

/// Updates elements [begin, end) of a row.
using Kernel = void (*)(const Row& row, std::int64_t begin, std::int64_t end);

/// The kernels of one rule: for parameters and state in the same dtype, and for bfloat16 parameters with float state.
struct Kernels {
  Kernel f32 = nullptr;
  Kernel f64 = nullptr;
  Kernel bf16 = nullptr;
  Kernel bf16_float_state = nullptr;
  Kernel bf16_stochastic = nullptr;
  Kernel bf16_kahan = nullptr;
  Kernel f32_8bit = nullptr;
  Kernel bf16_8bit = nullptr;
  Kernel bf16_stochastic_8bit = nullptr;
  Kernel bf16_kahan_8bit = nullptr;
};

}  // namespace athanor::optim::engine
