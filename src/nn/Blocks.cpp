#include "athanor/nn/Blocks.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <stdexcept>

namespace athanor::nn {
namespace {

std::optional<std::int64_t> number_after(std::string_view text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

Checkpointing Checkpointing::every(std::int64_t k) {
  if (k < 1) throw std::invalid_argument(fmt::format("nn: checkpointing \"every:K\" needs K >= 1, got {}", k));
  return {Kind::every, k};
}

Checkpointing Checkpointing::first(std::int64_t n) {
  if (n < 0) throw std::invalid_argument(fmt::format("nn: checkpointing \"first:N\" needs N >= 0, got {}", n));
  return {Kind::first, n};
}

Checkpointing Checkpointing::parse(std::string_view text) {
  if (text == "off") return off();
  if (text == "all") return all();
  if (const auto k = number_after(text, "every:")) return every(*k);
  if (const auto n = number_after(text, "first:")) return first(*n);
  throw std::invalid_argument(
      fmt::format("nn: checkpointing must be \"off\", \"all\", \"every:K\" or \"first:N\", got \"{}\"", text));
}

bool Checkpointing::covers(std::int64_t block) const {
  switch (kind_) {
    case Kind::off:
      return false;
    case Kind::all:
      return true;
    case Kind::every:
      return block % number_ == 0;
    case Kind::first:
      return block < number_;
  }
  return false;
}

std::optional<std::int64_t> Checkpointing::first_blocks() const {
  return kind_ == Kind::first ? std::optional(number_) : std::nullopt;
}

std::string Checkpointing::text() const {
  switch (kind_) {
    case Kind::off:
      return "off";
    case Kind::all:
      return "all";
    case Kind::every:
      return fmt::format("every:{}", number_);
    case Kind::first:
      return fmt::format("first:{}", number_);
  }
  return "off";
}

void Blocks::set_checkpointing(Checkpointing policy) {
  const auto count = block_count();
  if (const auto n = policy.first_blocks(); n && *n > count)
    throw std::invalid_argument(
        fmt::format("nn: checkpointing \"{}\", but the model has {} blocks", policy.text(), count));
  policy_ = policy;
}

Blocks* find_blocks(torch::nn::Module& model) {
  if (auto* blocks = dynamic_cast<Blocks*>(&model)) return blocks;
  for (const auto& child : model.modules(/*include_self=*/false))
    if (auto* blocks = dynamic_cast<Blocks*>(child.get())) return blocks;
  return nullptr;
}

void set_checkpointing(torch::nn::Module& model, const Checkpointing& policy) {
  if (auto* blocks = find_blocks(model)) return blocks->set_checkpointing(policy);
  if (policy == Checkpointing::off()) return;
  throw std::invalid_argument(fmt::format(
      "nn: checkpointing \"{}\" asked of '{}', which lists no blocks: derive it from athanor::nn::Blocks, return their "
      "number from block_count() and call each as run_block(index, block, x), or set checkpointing to \"off\"",
      policy.text(), model.name()));
}

}  // namespace athanor::nn
