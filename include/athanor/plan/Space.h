#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "athanor/plan/Settings.h"

namespace athanor::plan {

/// What may be chosen. Where two lists are marked "leaner", each value needs no more memory and no less time than the
/// one before it, everything else being equal; the search leans on that to rehearse a fraction of the space, and it is
/// exact where it holds. The other lists promise nothing and are all tried. One value: that setting is fixed.
struct Space {
  std::vector<std::int64_t> micro_batches = {1};      ///< Leaner: falling. Each divides effective_batch.
  std::int64_t effective_batch = 1;                   ///< micro_batch × accumulate, the same for all.
  std::vector<std::string> checkpointing = {"off"};   ///< Leaner: "off", "first:1", … , "all".
  std::vector<std::string> offload = {"off"};         ///< Leaner: "off", "activations".
  std::vector<bool> optimizer_in_backward = {false};  ///< Leaner: false, true.
  std::vector<std::string> precisions = {"fp32"};
  std::vector<bool> chunked_loss = {false};
  std::vector<std::string> optimizer_states = {"same"};

  /// Whether a combination makes sense; absent: all but optimizer_in_backward with accumulate > 1, which cannot be.
  std::function<bool(const Settings&)> allowed = nullptr;

  [[nodiscard]] bool allows(const Settings& settings) const;
  /// Combinations that are allowed.
  [[nodiscard]] std::vector<Settings> all() const;
  /// Throws std::invalid_argument for an empty list or a micro-batch that does not divide the effective batch.
  void check() const;
};

/// The divisors of `effective_batch`, falling.
std::vector<std::int64_t> divisors(std::int64_t effective_batch);

/// "off", "first:1", …, "first:blocks−1", "all"; of more than `most` blocks evenly spaced ones.
std::vector<std::string> checkpointing_of(std::int64_t blocks, std::int64_t most = 16);

}  // namespace athanor::plan
