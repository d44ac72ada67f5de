#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace athanor::rehearse::phantom {

/// What cuDNN keeps from forward for backward: bytes, between bounds.
[[nodiscard]] at::Tensor reserve_space(std::int64_t bytes, std::int64_t low, std::int64_t high);
[[nodiscard]] std::int64_t dropout_state_bytes();

/// Sends torch.lstm, gru and rnn to cuDNN, as the CUDA build does, or takes that back.
void install_recurrent_stubs(bool on);

}  // namespace athanor::rehearse::phantom
