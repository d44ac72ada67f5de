#pragma once
#include <torch/csrc/autograd/engine.h>

namespace athanor::nn {

/// LibTorch's autograd engine, with an answer to the question that only Python's engine answers: what becomes of a
/// tensor that is being saved (`SavedTensorScope`). Whoever installs an engine of its own derives it from this one, and
/// puts `instance` back afterwards. Never destroyed: its threads outlive main.
class HookedEngine : public torch::autograd::Engine {
 public:
  /// The one that is installed before main: all backward passes of a process share its threads (each thread that
  /// multiplies owns a cuBLAS workspace).
  static torch::autograd::Engine& instance();

  std::unique_ptr<torch::autograd::SavedVariableHooks> get_default_saved_variable_hooks() override;
};

}  // namespace athanor::nn
