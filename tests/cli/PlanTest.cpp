#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "athanor/core/Config.h"
#include "cli/Harness.h"
#include "cli/Planning.h"

namespace athanor::cli {
namespace {

using harness::Desk;
using nlohmann::json;

constexpr const char* gpt =
    "[run]\ndevice = \"cpu\"\n[data]\nbatch_size = 8\n[model]\nkind = \"gpt\"\nlayers = 4\nheads = 4\nwidth = 64\n"
    "block = 64\nvocabulary = 4096\n[optimizer]\nkind = \"adamw\"\nlr = 1e-3\n";

struct PlanDesk : Desk {
  explicit PlanDesk(const std::string& name) : Desk("plan-" + name) { write("gpt.toml", gpt); }
  [[nodiscard]] harness::Result plan(std::vector<std::string> more) const {
    std::vector<std::string> words{"plan", path("gpt.toml"), "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return harness::run(words);
  }
};

// Few enough to try all.
const std::vector<std::string> few{"--set", "precision.compute=bf16", "--set", "optimizer.states=same",
                                   "--set", "memory.offload=off"};

PlanRequest request_for(const PlanDesk& desk, const models::Registry& models, Bytes budget) {
  return {.config =
              [&desk](std::span<const std::string> more) {
                std::vector<std::string> all{"precision.compute=bf16", "optimizer.states=same", "memory.offload=off"};
                all.insert(all.end(), more.begin(), more.end());
                return core::Config::from_file(desk.path("gpt.toml"), all);
              },
          .models = &models,
          .gpu = "RTX 4090",
          .budget = budget};
}

TEST(Plan, TheSearchAgreesWithRehearsingEverySetting) {
  const PlanDesk desk("brute");
  const auto models = models::Registry::builtin();
  auto request = request_for(desk, models, Bytes{0});
  const auto question = ask(request);
  std::vector<plan::Cost> all;
  for (const auto& settings : question.space.all()) all.push_back(rehearse_setting(request, question, settings));
  ASSERT_GT(all.size(), 40);
  std::int64_t least = INT64_MAX, most = 0;
  for (const auto& cost : all) {
    least = std::min(least, cost.process.count);
    most = std::max(most, cost.process.count);
  }
  double before = INFINITY;
  for (int i = 0; i <= 4; ++i) {
    request.budget = Bytes{least + (most - least) * i / 4};
    const auto plan = make_plan(request, question);
    double best = INFINITY;
    for (const auto& cost : all)
      if (cost.process <= *request.budget) best = std::min(best, cost.seconds_per_step);
    ASSERT_TRUE(plan.chosen);
    EXPECT_NEAR(plan.chosen->cost.seconds_per_step, best, 1e-9) << i;
    EXPECT_LE(plan.chosen->cost.seconds_per_step, before);
    EXPECT_LT(plan.searched(), plan.combinations);
    before = plan.chosen->cost.seconds_per_step;
  }
}

TEST(Plan, WritesAConfigurationThatKeepsWhatTheUserWrote) {
  const PlanDesk desk("out");
  const auto result =
      desk.plan({"--gpu", "RTX 4090", "--json", "--out", desk.path("planned.toml"), "--svg", desk.path("plan.svg"),
                 "--set", "precision.compute=bf16", "--set", "memory.chunked_loss=true"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto outcome = json::parse(result.out);
  for (const char* key : {"chosen", "candidates", "searched", "seconds"}) EXPECT_TRUE(outcome.contains(key)) << key;
  for (const auto& candidate : outcome["candidates"]) {
    EXPECT_EQ(candidate["settings"]["precision"], "bf16");
    EXPECT_EQ(candidate["settings"]["chunked_loss"], true);
    EXPECT_EQ(candidate["settings"]["batch_size"].get<int>() * candidate["settings"]["accumulate"].get<int>(), 8);
    EXPECT_GE(candidate["process"], candidate["peak_reserved"]);
  }
  const auto planned = core::Config::from_file(desk.path("planned.toml"));
  EXPECT_EQ(planned.table("model").integer("layers", 0), 4);
  EXPECT_EQ(planned.table("precision").text("compute", ""), "bf16");
  EXPECT_NE(std::filesystem::file_size(desk.path("plan.svg")), 0);
}

TEST(Plan, AHopelessBudgetIsExit3WithTheNearestMiss) {
  const PlanDesk desk("hopeless");
  auto words = few;
  words.insert(words.end(), {"--gpu", "RTX 4090", "--budget", "1MiB", "--json"});
  const auto result = desk.plan(words);
  EXPECT_EQ(result.code, 3);
  EXPECT_EQ(json::parse(result.out)["chosen"], nullptr);
  EXPECT_NE(result.err.find("parameters"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("too much"), std::string::npos) << result.err;
}

// Blocks by what they hold, what is reserved beyond them, the forecast's margin and the CUDA context.
TEST(Plan, ThePartsOfAPeakAddUpToIt) {
  const PlanDesk desk("parts");
  auto words = few;
  words.insert(words.end(), {"--gpu", "RTX 4090", "--json"});
  const auto result = desk.plan(words);
  ASSERT_EQ(result.code, 0) << result.err;
  for (const auto& candidate : json::parse(result.out)["candidates"]) {
    std::int64_t sum = 0;
    for (const auto& [name, bytes] : candidate["parts"].items()) sum += bytes.get<std::int64_t>();
    EXPECT_EQ(sum, candidate["process"].get<std::int64_t>());
    EXPECT_GT(candidate["parts"]["CUDA context"], 100 << 20);
    EXPECT_GT(candidate["parts"]["reserved slack"], 0);
  }
}

TEST(Plan, SaysWhereTheFormOfASampleIsFrom) {
  const Desk desk("samples");
  const auto plan = [&](const std::string& toml, std::vector<std::string> more) {
    desk.write("absent.toml", "[data]\nkind = \"cifar10\"\npath = \"" + desk.path("nowhere") + "\"\nbatch_size = 4\n" +
                                  toml + "\n[memory]\ncheckpointing = \"off\"\noffload = \"off\"\n");
    std::vector<std::string> words{"plan", desk.path("absent.toml"), "--gpu", "T4"};
    words.insert(words.end(), more.begin(), more.end());
    return harness::run(words);
  };
  const auto says = plan("[model]\nkind = \"cnn\"\nimage = 8\nclasses = 7", {});
  EXPECT_EQ(says.code, 0) << says.err;
  EXPECT_NE(says.err.find("samples 1×8×8 as the model takes them, 7 classes; the data were not read"),
            std::string::npos)
      << says.err;
  const std::string takes_any = "[model]\nkind = \"resnet\"\ndepth = 20";
  const auto unknown = plan(takes_any, {});
  EXPECT_EQ(unknown.code, 1) << unknown.err;
  for (const char* part : {"nowhere", "--sample"}) EXPECT_NE(unknown.err.find(part), std::string::npos) << unknown.err;
  const auto given = plan(takes_any, {"--sample", "3x8x8", "--json"});
  EXPECT_EQ(given.code, 0) << given.err;
  EXPECT_EQ(json::parse(given.out)["samples"], (json{{"shape", {3, 8, 8}}, {"source", "--sample"}}));
}

TEST(Plan, MistakesAreNamed) {
  const PlanDesk desk("mistakes");
  const auto expect = [&](std::vector<std::string> words, std::vector<std::string> parts) {
    const auto result = desk.plan(std::move(words));
    EXPECT_EQ(result.code, 2) << result.err;
    for (const auto& part : parts) EXPECT_NE(result.err.find(part), std::string::npos) << part << " in " << result.err;
  };
  expect({}, {"--gpu", "--budget"});
  expect({"--gpu", "RTX 4099"}, {"no GPU", "did you mean 'GeForce RTX 409"});
  expect({"--gpu", "T4", "--set", "memory.optimizer_in_backward=true", "--set", "train.accumulate=4"},
         {"optimizer_in_backward", "accumulate"});
  expect({"--gpu", "T4", "--set", "memory.optimizer_in_backward=true", "--set", "train.clip_norm=1"},
         {"optimizer_in_backward", "clip_norm"});
  expect({"--gpu", "T4", "--set", "memory.checkpointing=all", "--set", "model={kind=\"mlp\", inputs=4, classes=2}"},
         {"no blocks", "block_count"});
  expect({"--gpu", "T4", "--set", "memory.chuncked_loss=true"}, {"chuncked_loss", "did you mean 'chunked_loss'"});
  expect({"--gpu", "T4", "--set", "train.accumulate=0"}, {"train.accumulate", ">= 1"});
  expect({"--budget", "much"}, {"--budget", "much"});
  expect({"--set", "memory.budget=0MiB"}, {"memory.budget", "> 0"});
}

TEST(Budget, TrainingRefusesWithThePlanAndTrainsWhatFits) {
  const Desk desk("budget");
  const auto refused = desk.train({"--set", "memory.budget=1MiB", "--set", "run.device=cpu"});
  EXPECT_EQ(refused.code, 3) << refused.err;
  EXPECT_NE(refused.err.find("memory.budget"), std::string::npos) << refused.err;
  EXPECT_FALSE(std::filesystem::exists(desk.folder / "run"));
  const auto trained = desk.train({"--set", "memory.budget=2GiB", "--set", "run.device=cpu"});
  EXPECT_EQ(trained.code, 0) << trained.err;
}

// A GPT on text whose activations are most of what it needs.
struct TextDesk : Desk {
  TextDesk() : Desk("text") {
    write("text.txt", std::string(8192, 'a'));
    write("tiny.toml", "[run]\ndevice = \"cpu\"\n[data]\nkind = \"text\"\npath = \"" + path("text.txt") +
                           "\"\nblock = 128\nbatch_size = 16\nvalidation_fraction = 0\n[model]\nkind = \"gpt\"\n"
                           "layers = 6\nheads = 2\nwidth = 128\nblock = 128\n[optimizer]\nkind = \"adamw\"\n"
                           "lr = 1e-3\n[train]\nmax_steps = 1\n");
  }
  [[nodiscard]] std::int64_t process(const std::string& checkpointing) const {
    const auto result = harness::run({"rehearse", path("tiny.toml"), "--gpu", "A100 80GB", "--json", "--quiet", "--set",
                                      "memory.checkpointing=" + checkpointing});
    EXPECT_EQ(result.code, 0) << result.err;
    return json::parse(result.out)["range"]["process"]["high"].get<std::int64_t>();
  }
  [[nodiscard]] harness::Result within(std::int64_t budget) const {
    return train({"--set", "memory.checkpointing=budget", "--set", "memory.budget=" + std::to_string(budget) + "B"});
  }
};

TEST(Budget, ChoosesTheFewestCheckpointedBlocksThatFit) {
  const TextDesk desk;
  const auto off = desk.process("off"), all = desk.process("all");
  ASSERT_GT(off, all + (16 << 20));
  const auto budget = (off + all) / 2;
  const auto trained = desk.within(budget);
  ASSERT_EQ(trained.code, 0) << trained.err;
  const auto resolved = core::Config::from_file(desk.path("run/config.toml")).table("memory").text("checkpointing", "");
  ASSERT_TRUE(resolved.starts_with("first:")) << resolved;
  EXPECT_NE(trained.err.find("checkpointing " + resolved), std::string::npos) << trained.err;
  const auto blocks = std::stoi(resolved.substr(6));
  EXPECT_LE(desk.process(resolved), budget);
  EXPECT_GT(desk.process(blocks > 1 ? "first:" + std::to_string(blocks - 1) : "off"), budget);

  std::filesystem::remove_all(desk.folder / "run");
  const auto refused = desk.within(all / 2);
  EXPECT_EQ(refused.code, 3) << refused.err;
  EXPECT_NE(refused.err.find("too much"), std::string::npos) << refused.err;
  EXPECT_FALSE(std::filesystem::exists(desk.folder / "run"));
}

// A billion weights in bf16.
struct LargeDesk : Desk {
  LargeDesk() : Desk("large") {
    write("large.toml",
          "[data]\nbatch_size = 1\n[model]\nkind = \"mlp\"\nhidden = [32768, 32768]\n[precision]\n"
          "parameters = \"bf16\"\n[optimizer]\nlr = 1e-2\n");
  }
  [[nodiscard]] json forecast(const std::string& setting) const {
    const auto result =
        harness::run({"rehearse", path("large.toml"), "--gpu", "A100 80GB", "--json", "--quiet", "--set", setting});
    EXPECT_EQ(result.code, 0) << result.err;
    return json::parse(result.out);
  }
};

TEST(Lean, AModelInBf16IsRehearsedWithoutHostMemory) {
  const LargeDesk desk;
  const auto most_resident = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss * 1024;
  };
  const auto before = most_resident();
  const auto parameters = desk.forecast("optimizer.kind=sgd")["by_category"]["parameters"].get<std::int64_t>();
  EXPECT_GT(parameters, std::int64_t{2} << 30);
  EXPECT_LT(most_resident() - before, parameters / 4);
}

// On a GPU the state is unfolded into floats, a piece at a time however large the tensor.
TEST(Lean, EightBitStateNeedsFewTemporaries) {
  const LargeDesk desk;
  const auto plain = desk.forecast("optimizer.states=same")["peak"]["allocated"].get<std::int64_t>();
  const auto folded = desk.forecast("optimizer.states=8bit")["peak"]["allocated"].get<std::int64_t>();
  constexpr std::int64_t weights = std::int64_t{1} << 30;
  EXPECT_LT(folded, plain - 2 * weights + (1 << 30));
}

TEST(Lean, OptimizerInBackwardTrainsToTheSameBits) {
  const Desk desk("lean");
  const auto value = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"--json", "--set", "run.device=cpu"};
    words.insert(words.end(), more.begin(), more.end());
    std::filesystem::remove_all(desk.folder / "run");
    const auto result = desk.train(words);
    EXPECT_EQ(result.code, 0) << result.err;
    return json::parse(result.out)["final"].dump();
  };
  EXPECT_EQ(value({}), value({"--set", "memory.optimizer_in_backward=true"}));
}

}  // namespace
}  // namespace athanor::cli
