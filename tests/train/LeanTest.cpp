#include <gtest/gtest.h>
#include <torch/torch.h>

#include "athanor/train/Ema.h"
#include "athanor/train/Session.h"
#include "support/CountingAllocator.h"

namespace athanor::train {
namespace {

constexpr const char* llama =
    "[model]\nkind = 'llama'\nlayers = 2\nheads = 4\nkv_heads = 2\nwidth = 32\nmlp = 48\nblock = 32\nvocabulary = 500\n"
    "[optimizer]\nkind = 'adamw'\nlr = 1e-2\n";

Session session_of(const std::vector<std::string>& settings) {
  return {core::Config::from_text(llama, "test.toml", settings), models::Registry::builtin(), {.run_steps = 10}};
}

data::Batch tokens(std::int64_t items) {
  torch::manual_seed(3);
  const auto text = torch::randint(500, {items, 33}, at::kLong);
  return {text.narrow(1, 0, 32), text.narrow(1, 1, 32), items};
}

double loss_after(Session& session, int steps) {
  const auto batch = tokens(4);
  at::Tensor loss;
  for (int i = 0; i < steps; ++i) loss = session.step(batch);
  EXPECT_EQ(loss.scalar_type(), at::kFloat);
  return loss.item<double>();
}

TEST(Lean, ParametersInBf16TrainCloseToThoseInFp32) {
  auto exact = session_of({});
  auto rounded = session_of({"precision.parameters=bf16"});
  for (const auto& parameter : rounded.model.module->parameters()) EXPECT_EQ(parameter.scalar_type(), at::kBFloat16);
  EXPECT_NEAR(loss_after(rounded, 1), loss_after(exact, 1), 0.02);
  const double learned = loss_after(exact, 10), learned_rounded = loss_after(rounded, 10);
  EXPECT_LT(learned, 5.5);  // from ln 500 = 6.2
  EXPECT_NEAR(learned_rounded, learned, 0.1);
}

TEST(Lean, EverythingTogetherLearns) {
  auto session =
      session_of({"precision.parameters=bf16", "memory.checkpointing=all", "memory.chunked_loss=true",
                  "memory.optimizer_in_backward=true", "memory.offload=activations", "optimizer.states=8bit"});
  const double first = loss_after(session, 1);
  EXPECT_LT(loss_after(session, 10), first - 0.5);
}

TEST(Lean, Bf16ParametersDoNotGoWithTheScaler) {
  EXPECT_THROW(session_of({"precision.parameters=bf16", "precision.compute=fp16"}), std::invalid_argument);
}

// The chunked loss without outputs is the whole one, and holds no logits.
TEST(Lean, EvaluationInChunksIsTheWholeOne) {
  auto session = session_of({"memory.chunked_loss=true", "train.label_smoothing=0.1"});
  session.step_options.chunked_loss->chunk = Bytes{64 << 10};
  const auto batch = tokens(64);
  const auto peak_and_loss = [&](bool want_output) {
    test::CountingAllocator memory;
    const auto loss = session.evaluate(batch, want_output).item<double>();
    return std::pair(memory.peak(), loss);
  };
  const auto [whole_peak, whole] = peak_and_loss(true);
  const auto [chunked_peak, chunked] = peak_and_loss(false);
  EXPECT_NEAR(chunked, whole, 1e-5);
  constexpr std::int64_t logits = 64 * 32 * 500 * 4;
  EXPECT_GT(whole_peak, 2 * logits);
  EXPECT_LT(chunked_peak, logits);
}

// Its averages are memory of their own; the weights it reads stay because it has handles of them.
TEST(Lean, AReleaseNamesTheAverageOfTheWeights) {
  torch::nn::Linear net(64, 64);
  constexpr std::int64_t bytes = 4 * (64 * 64 + 64);
  std::optional<Ema> ema(std::in_place, *net, 0.99);
  const auto released = memory::release(std::move(net), {.suspects = {ema->suspect()}});
  EXPECT_EQ(released.freed.count, 0);
  ASSERT_EQ(released.rest.size(), 2u) << released.text();
  for (const auto& rest : released.rest) EXPECT_EQ(rest.bytes.count, bytes) << released.text();
  EXPECT_EQ(released.rest[0].held_by, "the EMA");
  EXPECT_EQ(released.rest[1].what, "the EMA");
}

}  // namespace
}  // namespace athanor::train
