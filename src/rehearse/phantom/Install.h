#pragma once
#include <memory>
#include <vector>

#include "athanor/rehearse/Rule.h"
#include "rehearse/phantom/Cudnn.h"
#include "rehearse/phantom/Recorder.h"
#include "rehearse/phantom/Traits.h"

namespace athanor::rehearse::phantom {

/// What values read off the GPU are taken to be, and bounds of sizes that depend on data.
struct Assumptions {
  double floating = 1.0;       ///< `.item()` of a floating tensor, and what a copy to the host holds.
  std::int64_t integral = 0;   ///< `.item()` of an integral or boolean one.
  std::int64_t selected = -1;  ///< Upper bound of what nonzero, masked_select and unique find; below 0: not stated.
};

/// What the rules ask while a rehearsal runs.
struct State {
  Traits traits;
  Assumptions assumptions;
  std::vector<Rule> rules;  ///< The user's own.
  std::shared_ptr<Recorder> recorder;
  std::shared_ptr<Cudnn> cudnn{};  ///< None: its workspaces are bounded.
};

/// LibTorch's process-wide places (dispatcher, hooks, device guard, allocator, autograd engine) set up so that "cuda"
/// is the phantom, until this goes. One at a time in a process; not while a real CUDA device is in use.
class Installation {
 public:
  explicit Installation(State state);
  ~Installation();
  Installation(const Installation&) = delete;
  Installation& operator=(const Installation&) = delete;

 private:
  struct Kernels;
  std::shared_ptr<Kernels> kernels_;
  std::vector<std::unique_ptr<torch::Library>> user_rules_;
};

[[nodiscard]] bool installed();
[[nodiscard]] const Traits& traits();
[[nodiscard]] const Assumptions& assumptions();
[[nodiscard]] Cudnn* cudnn();

/// Gives the dispatch stubs of LibTorch's native functions CUDA kernels that do nothing, and takes them away.
void install_stubs(bool on);

}  // namespace athanor::rehearse::phantom
