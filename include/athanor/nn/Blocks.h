#pragma once
#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/nn/Checkpoint.h"

namespace athanor::nn {

/// Which blocks of a model are checkpointed, in words: "off", "all", "every:K" (blocks 0, K, 2K, …) or "first:N" (the
/// first N blocks: of any N equal blocks these free the most, since backward reaches them when the others are gone).
class Checkpointing {
 public:
  static Checkpointing off() { return {Kind::off, 0}; }
  static Checkpointing all() { return {Kind::all, 0}; }
  /// Throws std::invalid_argument unless k >= 1.
  static Checkpointing every(std::int64_t k);
  /// Throws std::invalid_argument if n is negative.
  static Checkpointing first(std::int64_t n);
  /// Reads the words above. Throws std::invalid_argument that lists them.
  static Checkpointing parse(std::string_view text);

  [[nodiscard]] bool covers(std::int64_t block) const;
  /// N of "first:N".
  [[nodiscard]] std::optional<std::int64_t> first_blocks() const;
  [[nodiscard]] std::string text() const;
  bool operator==(const Checkpointing&) const = default;

 private:
  enum class Kind { off, all, every, first };
  Checkpointing(Kind kind, std::int64_t number) : kind_(kind), number_(number) {}
  Kind kind_;
  std::int64_t number_;
};

/// A model that lists its blocks derives from this beside torch::nn::Module, and runs each block through `run_block`:
///
///     struct NetImpl : torch::nn::Module, athanor::nn::Blocks {
///       std::int64_t block_count() const override { return std::ssize(blocks_); }
///       at::Tensor forward(at::Tensor x) {
///         for (std::int64_t i = 0; i < block_count(); ++i) x = run_block(i, blocks_[i], x);
///         return x;
///       }
///     };
///
/// Then the memory of its activations can be chosen from outside, and so by the planner. Not thread-safe.
class Blocks {
 public:
  virtual ~Blocks() = default;
  [[nodiscard]] virtual std::int64_t block_count() const = 0;

  /// Holds from the next forward pass on. Throws std::invalid_argument if it names more blocks than there are.
  void set_checkpointing(Checkpointing policy);
  [[nodiscard]] const Checkpointing& checkpointing() const { return policy_; }

 protected:
  /// block->forward(inputs…), checkpointed where the policy says so; `block` is a module holder or a shared_ptr. What
  /// forward changes in the block's buffers (running statistics of batch norm) it changes once, as without.
  template <class Block, class... Inputs>
  auto run_block(std::int64_t index, const Block& block, const Inputs&... inputs) const {
    auto forward = [held = block](const auto&... values) mutable { return held->forward(values...); };
    if (!policy_.covers(index)) return forward(inputs...);
    return checkpoint({.restore = [block] { return block->buffers(); }}, forward, inputs...);
  }

 private:
  Checkpointing policy_ = Checkpointing::off();
};

/// The blocks of a model, or of the first module below it that lists some; null if none does.
Blocks* find_blocks(torch::nn::Module& model);

/// Sets the policy. Throws std::invalid_argument for a model that lists no blocks, with how to list them; "off" is
/// always fine.
void set_checkpointing(torch::nn::Module& model, const Checkpointing& policy);

}  // namespace athanor::nn
