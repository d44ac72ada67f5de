#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace athanor::plan {

/// Everything about a training step that trades memory against time without changing what is trained on: the keys of
/// the configuration, in its words.
struct Settings {
  std::int64_t micro_batch = 1;           ///< data.batch_size: samples in memory at once.
  std::int64_t accumulate = 1;            ///< train.accumulate: micro-batches to an optimizer step.
  std::string precision = "fp32";         ///< precision.compute: fp32, bf16 or fp16.
  std::string checkpointing = "off";      ///< memory.checkpointing: off, all, every:K or first:N.
  bool chunked_loss = false;              ///< memory.chunked_loss
  bool optimizer_in_backward = false;     ///< memory.optimizer_in_backward
  std::string optimizer_states = "same";  ///< optimizer.states: same, fp32 or 8bit.
  std::string offload = "off";            ///< memory.offload: off or activations.

  bool operator==(const Settings&) const = default;

  /// Where it differs from `from`, as "dotted.key=value" with the value in TOML: what --set takes.
  [[nodiscard]] std::vector<std::string> changes(const Settings& from) const;
  /// "8 × 4, bf16, checkpointing first:6, chunked loss": the switches that are on, for one column of a table.
  [[nodiscard]] std::string text() const;
};

/// What a change costs or alters, one line each, in the order of `changes`.
std::vector<std::string> prices(const Settings& settings, const Settings& from);

}  // namespace athanor::plan
