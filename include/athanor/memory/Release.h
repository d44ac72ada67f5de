#pragma once
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/optim/optimizer.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "athanor/core/Bytes.h"

namespace athanor::memory {

/// Something that did not come free.
struct Rest {
  std::string what;  ///< "parameters", "gradients", "buffers", "optimizer state", or the name of a suspect.
  std::string held_by;
  Bytes bytes;
};

/// What `release` did.
struct Released {
  Bytes held;                ///< By the module (parameters, buffers, gradients) and the optimizer, each byte once.
  Bytes freed;               ///< Of these, what no tensor holds any more.
  Bytes returned_to_driver;  ///< What the caching allocator gave back besides; 0 on the CPU, which has no cache.
  std::vector<Rest> rest;    ///< Who still holds the rest, largest first.

  /// A few lines for people.
  [[nodiscard]] std::string text() const;
};

/// Who might hold memory of the model, or a copy of it, beyond the release: an EMA, a second optimizer, kept outputs.
struct Suspect {
  std::string name;
  std::vector<at::Tensor> tensors;
};
Suspect suspect(std::string name, const torch::nn::Module& module);

struct ReleaseOptions {
  torch::optim::Optimizer* optimizer = nullptr;  ///< Emptied: its groups and state go. It cannot step any more.
  std::vector<Suspect> suspects = {};
  bool empty_cache = true;  ///< Also hands the allocator's unused blocks back, as torch.cuda.empty_cache does.
};

/// The notebook's `del model; torch.cuda.empty_cache()`: lets go of the module and of what the optimizer keeps, says
/// how much came free, and who holds what did not. Freed is what no tensor refers to any more; on a GPU the allocator's
/// cache then goes back to the driver. Throws std::invalid_argument for a null module.
Released release(std::shared_ptr<torch::nn::Module> module, ReleaseOptions options = {});

template <class Net>
requires std::is_base_of_v<torch::nn::Module, Net> Released release(std::shared_ptr<Net>&& module,
                                                                    ReleaseOptions options = {}) {
  return release(std::static_pointer_cast<torch::nn::Module>(std::exchange(module, nullptr)), std::move(options));
}

/// Of a module holder: `release(std::move(model))`. The holder is empty afterwards.
template <class Holder>
requires requires {
  typename Holder::ContainedType;
}
Released release(Holder&& holder, ReleaseOptions options = {}) {
  std::shared_ptr<torch::nn::Module> module = holder.ptr();
  holder = nullptr;
  return release(std::move(module), std::move(options));
}

}  // namespace athanor::memory
