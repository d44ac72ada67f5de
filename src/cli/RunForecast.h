#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "athanor/core/Bytes.h"
#include "athanor/models/Registry.h"
#include "cli/Apart.h"

namespace athanor::cli {

/// What a rehearsal says a training will need of its card.
struct MemoryForecast {
  std::string gpu;  ///< The table's name of the card.
  Bytes reserved;   ///< The allocator's highest.
  Bytes process;    ///< The same and the CUDA context: what the driver counts.
};

/// The forecast that `athanor train` makes by itself: a rehearsal on a phantom of the very card it is about to train
/// on, in a process of its own, beside the training. memory.gpu names another card to be. Keep the
/// registry alive until wait().
class RunForecast {
 public:
  /// Starts it, unless run.device is "cpu" or there is no driver. `driver` is the library that knows the card's name.
  RunForecast(const std::string& config, const std::vector<std::string>& overrides, const models::Registry& models,
              const std::string& driver = "libcuda.so.1");

  /// Whether wait() would return at once.
  [[nodiscard]] bool ready() const { return !rehearsal_ || rehearsal_->ready(); }
  /// The forecast; nullopt where there is no card. Throws std::invalid_argument or athanor::Error where it cannot be
  /// made: a card that the table of GPUs does not know, an operator without a rule.
  std::optional<MemoryForecast> wait();

 private:
  std::unique_ptr<Apart> rehearsal_;
};

}  // namespace athanor::cli
