#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "cli/Harness.h"

namespace athanor::cli {
namespace {

using harness::Desk;
using nlohmann::json;

// One mistake on the command line: its exit code, and what its one line must say.
void expect_mistake(const harness::Result& result, int code, const std::vector<std::string>& parts) {
  EXPECT_EQ(result.code, code) << result.err;
  for (const auto& part : parts) EXPECT_NE(result.err.find(part), std::string::npos) << part << " in: " << result.err;
  const auto line = result.err.find("athanor: ");
  ASSERT_NE(line, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find('\n', line), result.err.size() - 1) << "one line: " << result.err;
  EXPECT_EQ(result.out, "");
}

TEST(Train, GivesOneJsonDocumentAndAWholeRunDirectory) {
  const Desk desk("json");
  const auto result = desk.train({"--json", "--quiet"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  const auto outcome = json::parse(result.out);
  for (const char* key : {"status", "reason", "steps", "epochs", "best", "final", "seconds", "run_dir"})
    EXPECT_TRUE(outcome.contains(key)) << key;
  EXPECT_EQ(outcome["status"], "finished");
  EXPECT_EQ(outcome["epochs"], 2);
  for (const char* file : {"config.toml", "run.json", "metrics.csv", "best.safetensors", "checkpoints"})
    EXPECT_TRUE(std::filesystem::exists(desk.folder / "run" / file)) << file;
}

TEST(Train, ADryRunWritesNothing) {
  const Desk desk("dry");
  const auto result = desk.train({"--dry-run", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out)["steps"], 2);
  EXPECT_FALSE(std::filesystem::exists(desk.folder / "run"));
}

TEST(Train, PrintsAConfigurationThatReadsBackToTheSame) {
  const Desk desk("print");
  const auto first = desk.train({"--print-config", "--set", "train.clip_norm=0.5"});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_NE(first.out.find("clip_norm = 0.5  # --set"), std::string::npos) << first.out;
  desk.write("tiny.toml", first.out);
  const auto second = desk.train({"--print-config"});
  ASSERT_EQ(second.code, 0) << second.err;
  const auto values = [](const std::string& text) {  // the order of keys may differ, and the sources do
    std::set<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.insert(line.substr(0, line.find("  # ")));
    return lines;
  };
  EXPECT_EQ(values(first.out), values(second.out));
}

TEST(Train, MaxStepsStopsAndResumeGoesOn) {
  const Desk desk("resume");
  ASSERT_EQ(desk.train({"--max-steps", "3", "--quiet"}).code, 0);
  const auto result = desk.train({"--resume", "--json", "--quiet"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out)["steps"], 10);
}

TEST(TrainMistakes, EachNamesWhatIsWrongAndTheMend) {
  const Desk desk("mistakes");
  expect_mistake(desk.train({"--set", "data.batch_size=0"}), 2, {"data.batch_size", "must be >= 1, got 0"});
  expect_mistake(desk.train({"--set", "data.batch_size=1000"}), 2, {"batch_size", "1000", "42 samples"});
  expect_mistake(desk.train({"--set", "train.max_epoch=3"}), 2, {"train.max_epoch", "max_epochs"});
  expect_mistake(desk.train({"--set", "model.kind=mlpp"}), 2, {"model.kind", "mlpp", "'mlp'"});
  expect_mistake(desk.train({"--set", "optimizer.kind=adamv"}), 2, {"optimizer.kind", "adam"});
  expect_mistake(desk.train({"--set", "optimizer.lr=0"}), 2, {"optimizer.lr", "must be > 0, got 0"});
  expect_mistake(desk.train({"--set", "optimizer.lr=-1"}), 2, {"optimizer.lr", "must be > 0, got -1"});
  expect_mistake(desk.train({"--set", "train.accumulate=0"}), 2, {"train.accumulate", "must be >= 1"});
  expect_mistake(desk.train({"--set", "train.ema_decay=1"}), 2, {"train.ema_decay", "< 1"});
  expect_mistake(desk.train({"--set", "train.max_epochs=0"}), 2, {"train.max_epochs", "would not end"});
  expect_mistake(desk.train({"--set", "train.metrics=[\"acuracy\"]"}), 2, {"train.metrics", "'accuracy'"});
  expect_mistake(desk.train({"--set", "early_stopping.monitor=val_los"}), 2, {"early_stopping.monitor", "val_loss"});
  expect_mistake(desk.train({"--set", "early_stopping.patience=-1"}), 2, {"early_stopping.patience", ">= 0"});
  expect_mistake(desk.train({"--set", "precision.compute=fp8"}), 2, {"precision.compute", "fp8"});
  expect_mistake(desk.train({"--set", "checkpoint.keep_last=0"}), 2, {"checkpoint.keep_last", ">= 1"});
  expect_mistake(desk.train({"--set", "model.inputs=5"}), 2, {"samples of 5, the data gives 2"});
  expect_mistake(desk.train({"--set", "model.classes=2"}), 2, {"classes"});
  expect_mistake(desk.train({"--set", "run.name=a/b"}), 2, {"run.name", "a/b"});
  expect_mistake(desk.train({"--set", "run.device=gpu"}), 2, {"gpu"});
  expect_mistake(desk.train({"--set", "memory.checkpointing=all"}), 2, {"memory.checkpointing", "all"});
  expect_mistake(desk.train({"--max-steps", "-1"}), 2, {"--max-steps"});
  EXPECT_FALSE(std::filesystem::exists(desk.folder / "run")) << "a mistake is found before any work";
}

TEST(TrainMistakes, UnknownFlagsAndCommandsNameTheNearest) {
  expect_mistake(harness::run({"train", "--hlp"}), 2, {"'--hlp'", "'--help'"});
  expect_mistake(harness::run({"train", "x.toml", "--resum"}), 2, {"'--resum'", "'--resume'"});
  expect_mistake(harness::run({"trian", "x.toml"}), 2, {"'trian'", "'train'"});
  expect_mistake(harness::run({"--jsn"}), 2, {"'--jsn'", "'--json'"});
  expect_mistake(harness::run({"train", "/no/such.toml"}), 1, {"/no/such.toml", "No such file"});
}

TEST(TrainMistakes, AMissingDatasetNamesThePackage) {
  const Desk desk("missing");
  desk.write("tiny.toml",
             "[data]\nkind = \"idx-images\"\npath = \"" + desk.path("nothing") + "\"\n[model]\nkind = \"mlp\"\n");
  const auto result = desk.train();
  expect_mistake(result, 1, {"nothing"});
}

TEST(TrainMistakes, ARunDirectoryIsNotOverwrittenOrMixedUp) {
  const Desk desk("owner");
  expect_mistake(desk.train({"--resume"}), 2, {"nothing to resume", desk.path("run")});
  ASSERT_EQ(desk.train({"--quiet"}).code, 0);
  expect_mistake(desk.train(), 2, {"holds a run already", "--resume", "--out"});
  expect_mistake(
      desk.train({"--resume", "--set", "optimizer.lr=0.5", "--set", "model.hidden=[9]"}), 2,
      {"another configuration", "optimizer.lr: 0.01 there, 0.5 here", "model.hidden: [8] there, [9] here"});
  EXPECT_EQ(desk.train({"--resume", "--quiet", "--set", "train.max_epochs=3"}).code, 0)
      << "a longer run is the same run";
}

TEST(TrainMistakes, DamagedCheckpointsAreWarnedOfAndTheOneBeforeIsUsed) {
  const Desk desk("damaged");
  ASSERT_EQ(desk.train({"--quiet"}).code, 0);
  const auto newest = desk.folder / "run" / "checkpoints" / "step-00000010";
  std::filesystem::resize_file(newest / "model.safetensors", 20);
  const auto result = desk.train({"--resume", "--quiet", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("step-00000010"), std::string::npos) << result.err;
  EXPECT_EQ(json::parse(result.out)["steps"], 10);
  std::filesystem::remove_all(desk.folder / "run" / "checkpoints");
  std::filesystem::create_directories(desk.folder / "run" / "checkpoints");
  expect_mistake(desk.train({"--resume"}), 2, {"holds no whole checkpoint"});
}

TEST(Train, ARunThatDivergesSaysWhereAndExitsWithOne) {
  const Desk desk("diverge");
  std::string table = "a,b,label\n";
  for (int i = 0; i < 60; ++i) table += std::to_string(i) + "e37,3e38," + std::to_string(i % 3) + "\n";
  desk.write("table.csv", table);
  const auto result = desk.train({"--json", "--set", "optimizer.lr=1e6", "--set", "data.standardize=false"});
  if (result.code == 2) GTEST_SKIP() << result.err;
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_EQ(json::parse(result.out)["status"], "diverged");
  EXPECT_NE(json::parse(result.out)["reason"].get<std::string>().find("at step"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace athanor::cli
