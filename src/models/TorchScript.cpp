#include "athanor/models/TorchScript.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include "athanor/core/Error.h"

namespace athanor::models {
namespace {

// A script module's tree, mirrored as ordinary modules that hold the very same tensors. LibTorch moves a module's
// tensors in place, so the script sees every move.
class ScriptedImpl : public torch::nn::Module {
 public:
  explicit ScriptedImpl(const torch::jit::Module& script) : script_(script) {
    for (const auto& parameter : script.named_parameters(/*recurse=*/false))
      register_parameter(parameter.name, parameter.value, parameter.value.requires_grad());
    for (const auto& buffer : script.named_buffers(/*recurse=*/false)) register_buffer(buffer.name, buffer.value);
    for (const auto& child : script.named_children())
      register_module(child.name, std::make_shared<ScriptedImpl>(child.value));
  }

  void train(bool on) override {
    torch::nn::Module::train(on);
    script_.train(on);
  }

  at::Tensor forward(at::Tensor x) { return script_.forward({std::move(x)}).toTensor(); }

 private:
  torch::jit::Module script_;
};

}  // namespace

Model load_torchscript(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) throw Error("cannot read " + path.string() + ": no such file");
  try {
    auto script = torch::jit::load(path.string(), c10::Device(c10::kCPU));
    if (!script.find_method("forward")) throw Error("cannot use " + path.string() + ": it has no forward");
    return {std::make_shared<ScriptedImpl>(script)};
  } catch (const c10::Error& error) {
    throw Error("cannot read " + path.string() + ": not a TorchScript file, or damaged (" +
                std::string(error.what_without_backtrace()).substr(0, 120) + ")");
  }
}

}  // namespace athanor::models
