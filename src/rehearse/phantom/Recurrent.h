#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdint>

namespace athanor::rehearse::phantom {

/// What cuDNN keeps from forward for backward: bytes, between bounds.
[[nodiscard]] at::Tensor reserve_space(std::int64_t bytes, std::int64_t low, std::int64_t high);
[[nodiscard]] std::int64_t dropout_state_bytes();

/// Sends torch.lstm, gru and rnn to cuDNN, as the CUDA build does, or takes that back.
void install_recurrent_stubs(bool on);

/// Autocast's kernel of `_cudnn_rnn`: half precision whatever autocast's dtype, and one buffer for the weights, which
/// autograd follows. Source: aten/src/ATen/cudnn/AutocastRNN.cpp.
void cast_recurrent(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

}  // namespace athanor::rehearse::phantom
