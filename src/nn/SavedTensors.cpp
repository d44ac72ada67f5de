#include "athanor/nn/SavedTensors.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/engine.h>

#include <utility>
#include <vector>

#include "athanor/core/Error.h"

namespace athanor::nn {
namespace {

thread_local std::vector<std::shared_ptr<const Pack>> scopes;

class Hooks final : public torch::autograd::SavedVariableHooks {
 public:
  explicit Hooks(std::shared_ptr<const Pack> pack) : pack_(std::move(pack)) {}
  void call_pack_hook(const at::Tensor& tensor) override {
    unpack_ = (*pack_)(tensor);
    pack_.reset();
  }
  at::Tensor call_unpack_hook() override { return unpack_(); }

 private:
  std::shared_ptr<const Pack> pack_;
  Unpack unpack_;
};

// LibTorch asks its engine for the hooks of every tensor it saves; only Python's engine answers. So ours is the stock
// engine with an answer. It is put in place before main, so that all backward passes of a process share its threads
// (each thread that multiplies owns a cuBLAS workspace), and it is never destroyed: its threads outlive main.
class Engine final : public torch::autograd::Engine {
 public:
  static torch::autograd::Engine& instance() {
    static auto* engine = new Engine;
    return *engine;
  }
  std::unique_ptr<torch::autograd::SavedVariableHooks> get_default_saved_variable_hooks() override {
    if (scopes.empty()) return nullptr;
    return std::make_unique<Hooks>(scopes.back());
  }
};

[[maybe_unused]] const bool installed = [] {
  torch::autograd::set_default_engine_stub(&Engine::instance);
  return true;
}();

}  // namespace

SavedTensorScope::SavedTensorScope(Pack pack) {
  if (&torch::autograd::Engine::get_default_engine() != &Engine::instance())
    throw Error(
        "nn: another autograd engine is installed (a Python interpreter in this process?), so saved tensors "
        "cannot be checkpointed or offloaded here; use torch.utils.checkpoint there");
  scopes.push_back(std::make_shared<const Pack>(std::move(pack)));
}

SavedTensorScope::~SavedTensorScope() {
  scopes.pop_back();
}

Unpack SavedTensorScope::save(const at::Tensor& tensor) {
  if (!tensor.defined()) return [] { return at::Tensor(); };
  const c10::AutoGradMode no_gradients(false);
  if (scopes.empty()) return [kept = tensor.detach()] { return kept; };
  const auto pack = scopes.back();
  return (*pack)(tensor);
}

}  // namespace athanor::nn
