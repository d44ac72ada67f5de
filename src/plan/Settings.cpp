#include "athanor/plan/Settings.h"

#include <fmt/format.h>

namespace athanor::plan {
namespace {

struct Change {
  std::string assignment;
  std::string price;
};

std::string price_of_checkpointing(const std::string& policy) {
  if (policy == "off") return "activations of every block are kept";
  const std::string blocks = policy == "all"                ? std::string("all blocks")
                             : policy.starts_with("first:") ? "the first " + policy.substr(6) + " blocks"
                                                            : "one block in " + policy.substr(6);
  return fmt::format("{} run forward twice; gradients stay bit-equal", blocks);
}

std::string price_of_precision(const std::string& precision) {
  if (precision == "bf16") return "matrix products round to 8 significant bits; parameters and sums stay fp32";
  if (precision == "fp16") return "matrix products round to 11 significant bits and the loss is scaled";
  return "matrix products in full precision";
}

std::vector<Change> compare(const Settings& settings, const Settings& from) {
  std::vector<Change> changes;
  const auto add = [&](bool differs, const char* key, const std::string& value, const std::string& price) {
    if (differs) changes.push_back({fmt::format("{}={}", key, value), price});
  };
  const auto quoted = [](const std::string& value) { return "\"" + value + "\""; };
  const auto word = [](bool value) { return std::string(value ? "true" : "false"); };
  add(settings.micro_batch != from.micro_batch, "data.batch_size", std::to_string(settings.micro_batch),
      fmt::format("the same {} samples to an optimizer step; batch norm sees {} at a time",
                  settings.micro_batch * settings.accumulate, settings.micro_batch));
  add(settings.accumulate != from.accumulate, "train.accumulate", std::to_string(settings.accumulate),
      "gradients of the micro-batches are summed, weighted by their samples");
  add(settings.precision != from.precision, "precision.compute", quoted(settings.precision),
      price_of_precision(settings.precision));
  add(settings.checkpointing != from.checkpointing, "memory.checkpointing", quoted(settings.checkpointing),
      price_of_checkpointing(settings.checkpointing));
  add(settings.chunked_loss != from.chunked_loss, "memory.chunked_loss", word(settings.chunked_loss),
      "the same loss, summed in another order; logits of the whole batch never exist");
  add(settings.optimizer_in_backward != from.optimizer_in_backward, "memory.optimizer_in_backward",
      word(settings.optimizer_in_backward), "the same update; no clipping by the norm of all gradients");
  add(settings.optimizer_states != from.optimizer_states, "optimizer.states", quoted(settings.optimizer_states),
      settings.optimizer_states == "8bit" ? "optimizer state rounds to 8 bits, block by block"
                                          : "optimizer state as it is");
  add(settings.offload != from.offload, "memory.offload", quoted(settings.offload),
      "activations travel to host memory and back; as much host memory as they take");
  return changes;
}

}  // namespace

std::vector<std::string> Settings::changes(const Settings& from) const {
  std::vector<std::string> result;
  for (auto& change : compare(*this, from)) result.push_back(std::move(change.assignment));
  return result;
}

std::vector<std::string> prices(const Settings& settings, const Settings& from) {
  std::vector<std::string> result;
  for (auto& change : compare(settings, from)) result.push_back(std::move(change.price));
  return result;
}

std::string Settings::text() const {
  std::string text = fmt::format("{} × {}, {}", micro_batch, accumulate, precision);
  if (checkpointing != "off") text += ", checkpointing " + checkpointing;
  if (chunked_loss) text += ", chunked loss";
  if (optimizer_in_backward) text += ", optimizer in backward";
  if (optimizer_states != "same") text += ", " + optimizer_states + " states";
  if (offload != "off") text += ", offload";
  return text;
}

}  // namespace athanor::plan
