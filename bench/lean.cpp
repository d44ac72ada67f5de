// The table of docs/memory.md: what each lean building block does to the peak of a training step, as the phantom GPU
// sees it for a GPT-2 small and a ResNet-50, and as a counting CPU allocator sees it in a real step of smaller ones.
#include <fmt/format.h>

#include <optional>
#include <vector>

#include "../tests/support/CountingAllocator.h"
#include "athanor/rehearse/Rehearse.h"
#include "athanor/train/Session.h"

namespace {

using namespace athanor;

struct Case {
  std::string name;
  std::string model;
  std::int64_t batch;
  Bytes chunk = nn::LinearCrossEntropyOptions{}.chunk;
  std::optional<train::SampleForm> form = {};  // where the model does not say
};

train::SampleForm images(std::int64_t side, std::int64_t classes) {
  return {.input = {{3, side, side}, at::kFloat}, .target = {{}, at::kLong}, .classes = classes};
}

struct Row {
  std::string name;
  std::vector<std::string> overrides;
  bool language_only = false;
  bool gpu_only = false;
};

const std::vector<Row> rows{
    {"plain", {}},
    {"checkpointing, every second block", {"memory.checkpointing=every:2"}},
    {"checkpointing, all blocks", {"memory.checkpointing=all"}},
    {"chunked loss", {"memory.chunked_loss=true"}, true},
    {"optimizer in backward", {"memory.optimizer_in_backward=true"}},
    {"8-bit optimizer state", {"optimizer.states=8bit"}},
    {"offload", {"memory.offload=activations"}, false, true},
    {"checkpointing all, chunked loss", {"memory.checkpointing=all", "memory.chunked_loss=true"}, true},
    {"checkpointing all, optimizer in backward, 8-bit state",
     {"memory.checkpointing=all", "memory.optimizer_in_backward=true", "optimizer.states=8bit"}},
    {"all of these without offload",
     {"memory.checkpointing=all", "memory.chunked_loss=true", "memory.optimizer_in_backward=true",
      "optimizer.states=8bit"},
     true},
    {"all of these",
     {"memory.checkpointing=all", "memory.chunked_loss=true", "memory.optimizer_in_backward=true",
      "optimizer.states=8bit", "memory.offload=activations"},
     true,
     true}};

core::Config config_of(const Case& each, const Row& row, const std::string& precision) {
  return core::Config::from_text(
      each.model + "\n[optimizer]\nkind = \"adamw\"\nlr = 1e-3\n[precision]\ncompute = \"" + precision + "\"\n",
      "bench", row.overrides);
}

// The step is made with its first batch, so what the configuration has no key for can still be set.
void set_chunk(train::Session& session, const Case& each) {
  if (session.step_options.chunked_loss) session.step_options.chunked_loss->chunk = each.chunk;
}

std::int64_t on_phantom(const Case& each, const Row& row) {
  const auto config = config_of(each, row, "bf16");
  const auto builtin = models::Registry::builtin();
  const auto forecast =
      rehearse::rehearse({.gpu = "A100 80GB", .steps = 2}, [&](torch::Device device, rehearse::Stage& stage) {
        models::Registry registry;
        for (const auto& name : builtin.names())
          registry.add(name, [&](const core::Config& table) {
            const auto shapes_only = stage.without_host_memory();
            return builtin.make(table);
          });
        train::Session session(config, registry, {.device = device, .form = each.form, .run_steps = 1000});
        set_chunk(session, each);
        stage.watch(*session.model.module);
        const auto batch = session.blank_batch(each.batch);
        while (stage.next_step()) session.step(batch);
      });
  return forecast.peak.allocated.value;
}

std::int64_t on_cpu(const Case& each, const Row& row) {
  test::CountingAllocator memory;
  train::Session session(config_of(each, row, "fp32"), models::Registry::builtin(),
                         {.form = each.form, .run_steps = 1000});
  set_chunk(session, each);
  const auto batch = session.blank_batch(each.batch);
  session.step(batch);
  memory.reset_peak();
  session.step(batch);
  return memory.peak();
}

void print(const Case& large, const Case& small, bool language) {
  fmt::print("| | phantom: {} | | counted: {} | |\n|---|---|---|---|---|\n", large.name, small.name);
  double plain_large = 0, plain_small = 0;
  for (const auto& row : rows) {
    if (row.language_only && !language) continue;
    const auto phantom = static_cast<double>(on_phantom(large, row));
    const auto counted = row.gpu_only ? 0.0 : static_cast<double>(on_cpu(small, row));
    if (plain_large == 0) plain_large = phantom, plain_small = counted;
    fmt::print("| {} | {} | {:.0f} % | {} | {} |\n", row.name, Bytes{static_cast<std::int64_t>(phantom)}.text(),
               100 * phantom / plain_large, row.gpu_only ? "–" : Bytes{static_cast<std::int64_t>(counted)}.text(),
               row.gpu_only ? "" : fmt::format("{:.0f} %", 100 * counted / plain_small));
    std::fflush(stdout);
  }
  fmt::print("\n");
}

}  // namespace

int main() {
  print({"GPT-2 small, 8 × 1024 tokens, bf16 autocast, AdamW",
         "[model]\nkind = \"gpt\"\nlayers = 12\nheads = 12\nwidth = 768\nblock = 1024\nvocabulary = 50304", 8},
        {"4 layers of 256, 8 × 128 tokens, 8,192 words, fp32, AdamW, chunks of 4 MiB",
         "[model]\nkind = \"gpt\"\nlayers = 4\nheads = 4\nwidth = 256\nblock = 128\nvocabulary = 8192", 8,
         Bytes{4 << 20}},
        true);
  print({.name = "ResNet-50, 32 × 3 × 224 × 224, bf16 autocast, AdamW",
         .model = "[model]\nkind = \"resnet\"\ndepth = 50\nchannels = 3\nclasses = 1000",
         .batch = 32,
         .form = images(224, 1000)},
        {.name = "ResNet-20, 16 × 3 × 32 × 32, fp32, AdamW",
         .model = "[model]\nkind = \"resnet\"\ndepth = 20\nchannels = 3",
         .batch = 16,
         .form = images(32, 10)},
        false);
}
