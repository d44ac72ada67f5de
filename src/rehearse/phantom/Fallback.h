#pragma once
#include <ATen/core/dispatch/Dispatcher.h>

#include <vector>

#include "rehearse/phantom/Recorder.h"

namespace athanor::rehearse::phantom {

/// What an operator's schema says about its results: per result the argument it is (written) or looks into (viewed),
/// or -1; and what the ledger calls it.
struct Signature {
  std::vector<int> written;
  std::vector<int> viewed;
  std::vector<int> written_arguments;
  bool all_written = true;
  bool resizes_outputs = false;  ///< Has out= arguments, of whatever name.
  bool has_meta = false;
  bool one_device = true;  ///< Refuses tensors on the host beside those on the GPU, but for single numbers.
  std::uint16_t name = 0;
  std::string op;                                 ///< "add.Tensor"
  std::optional<c10::OperatorHandle> functional;  ///< Where there is no shape function: see OutForms.h.
};

/// The signature of an operator, read once a thread.
const Signature& signature_of(const c10::OperatorHandle& op);

/// Every operator nobody has a rule for: runs on the Meta device (shapes only), and its results are given memory.
/// Throws, naming the operator and where its rule goes, where Meta does not know it either.
void fallback(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack);

/// The part of the fallback that runs on Meta and gives the results memory.
void by_shape(const c10::OperatorHandle& op, torch::jit::Stack* stack);

/// In-place operators whose CUDA kernel allocates nothing outside: leaves the written arguments as the results.
void write_in_place(const c10::OperatorHandle& op, torch::jit::Stack* stack);

/// Throws std::invalid_argument where an operator got tensors on the host that its CUDA kernel would refuse.
void check_devices(const Signature& signature, const c10::OperatorHandle& op, const torch::jit::Stack& stack);

/// An operator starts: finds its device and the module whose parameter it touches.
void enter(Scope& scope, const torch::jit::Stack& stack, std::size_t arguments);

}  // namespace athanor::rehearse::phantom
