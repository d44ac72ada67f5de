#pragma once
#include <span>
#include <string_view>

#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {

/// An operator that PyTorch has a kernel of its own for where a tensor is sparse and on a GPU.
struct SparseOperator {
  std::string_view op;  ///< Without "aten::".
  bool shared;          ///< Its kernel is the function that serves sparse tensors on the CPU.
};
std::span<const SparseOperator> sparse_operators();

/// Rules for those that are not shared.
const Table& sparse_table();

/// Every operator on sparse tensors without a rule: runs PyTorch's shared function, or throws.
void sparse_fallback(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

/// As Stubs.cpp, for what the shared functions end in.
void install_sparse_stubs(bool on);

}  // namespace athanor::rehearse::phantom
