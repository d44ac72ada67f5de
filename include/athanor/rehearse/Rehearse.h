#pragma once
#include <c10/core/Device.h>
#include <torch/nn/module.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "athanor/allocator/CachingAllocator.h"
#include "athanor/allocator/Settings.h"
#include "athanor/rehearse/Forecast.h"
#include "athanor/rehearse/Rule.h"

namespace athanor::rehearse {

struct Options {
  std::string gpu =
      "A100 80GB";            ///< A name of the table of GPUs ("RTX 4090"); decides which kernels PyTorch would pick.
  int steps = 3;              ///< Training steps; lazy optimizer state makes the second differ from the first.
  int devices = 1;            ///< How many such GPUs: cuda:0, cuda:1, …
  bool limit_memory = false;  ///< Raise c10::OutOfMemoryError where the GPU would, instead of finding the whole peak.
  allocator::Settings allocator{};  ///< PYTORCH_CUDA_ALLOC_CONF.
  allocator::Version version{};     ///< The PyTorch release whose allocator and workspaces are modelled.
  allocator::AddressOrder addresses = allocator::AddressOrder::driver;  ///< In WSL: rising.
  double floating_values = 1.0;      ///< What `.item()` and copies to the host hold: a finite loss.
  std::int64_t integral_values = 0;  ///< Likewise of integers and booleans; 0: no overflow found.
  std::int64_t selected = -1;        ///< Upper bound of what nonzero, masked_select, unique find; below 0: they throw.
  /// A libcudnn to ask which workspaces its convolutions would take: its path, a folder that has it, or "auto", beside
  /// the LibTorch in use. Empty: what the environment variable ATHANOR_CUDNN says; without it they are bounded.
  std::string cudnn{};
  std::vector<Rule> rules{};  ///< For operators of your own, or to replace one of ours.
};

/// What a program says of itself while it is rehearsed. Everything is optional but `next_step`.
class Stage {
 public:
  /// True `Options::steps` times: `while (stage.next_step()) { … one training step … }`. What is allocated before the
  /// first call is the set-up; what goes after the last one is the tearing down, counted as a step more.
  [[nodiscard]] bool next_step();

  /// The step's number, from 1.
  [[nodiscard]] int step() const;

  /// Names a model's parameters, buffers and gradients in the ledger: "encoder.layers.0". Call it before or after
  /// `.to(device)`; the model may die at any time.
  void watch(const torch::nn::Module& module, const std::string& prefix = "");

  /// Until the returned guard goes, what happens belongs to this phase. Backward, and optimizer steps after it, are
  /// recognised by themselves; validation is not.
  [[nodiscard]] std::shared_ptr<void> phase(Phase phase);

  /// Until the returned guard goes, tensors made on the host have a shape but no memory: build models larger than the
  /// host there, then move them with `.to(device)`.
  [[nodiscard]] std::shared_ptr<void> without_host_memory();

  /// torch.cuda.empty_cache.
  void empty_cache();

  /// Until the returned guard goes, the device's allocations come from a private pool, as those of a CUDA graph that is
  /// being captured do; the pool stays, for the replays.
  [[nodiscard]] std::shared_ptr<void> graph_pool(int device = 0);

 private:
  friend class Rehearsal;
  struct State;
  explicit Stage(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

using Program = std::function<void(torch::Device device, Stage& stage)>;

/// Runs a program with "cuda" being a phantom: LibTorch's own dispatcher, autograd, autocast and optimizers, no memory
/// and no arithmetic, and every byte the CUDA caching allocator would hand out written down. Values are made up, so
/// nothing the program computes means anything, and nothing real is touched. The program's exceptions come through.
/// One at a time in a process. Throws std::invalid_argument (an unknown GPU, a value or size that depends on data),
/// athanor::Error (an operator without a rule, naming it and where the rule goes).
Forecast rehearse(const Options& options, const Program& program);

}  // namespace athanor::rehearse
