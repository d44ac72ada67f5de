#include "athanor/nn/SavedTensors.h"

#include <c10/core/GradMode.h>

#include <utility>
#include <vector>

#include "athanor/core/Error.h"
#include "athanor/nn/HookedEngine.h"

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

[[maybe_unused]] const bool installed = [] {
  torch::autograd::set_default_engine_stub(&HookedEngine::instance);
  return true;
}();

}  // namespace

torch::autograd::Engine& HookedEngine::instance() {
  static auto* engine = new HookedEngine;
  return *engine;
}

std::unique_ptr<torch::autograd::SavedVariableHooks> HookedEngine::get_default_saved_variable_hooks() {
  if (scopes.empty()) return nullptr;
  return std::make_unique<Hooks>(scopes.back());
}

SavedTensorScope::SavedTensorScope(Pack pack) {
  if (dynamic_cast<HookedEngine*>(&torch::autograd::Engine::get_default_engine()) == nullptr)
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
