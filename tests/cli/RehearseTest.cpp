#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "athanor/allocator/Snapshot.h"
#include "cli/Harness.h"

namespace athanor::cli {
namespace {

using harness::Desk;
using nlohmann::json;

harness::Result rehearse(const Desk& desk, std::vector<std::string> more) {
  std::vector<std::string> words{"rehearse", desk.path("tiny.toml")};
  words.insert(words.end(), more.begin(), more.end());
  return harness::run(words);
}

TEST(Rehearse, GivesTheContractsKeysAndNothingElseOnOutput) {
  const Desk desk("rehearse");
  const auto result = rehearse(desk, {"--json", "--gpu", "rtx 4090"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto forecast = json::parse(result.out);
  for (const char* key : {"gpu", "peak", "by_category", "peak_op", "peak_module", "steps", "events", "fits", "seconds"})
    EXPECT_TRUE(forecast.contains(key)) << key;
  const auto& peak = forecast["peak"];
  EXPECT_LE(peak["requested"], peak["allocated"]);
  EXPECT_LE(peak["allocated"], peak["reserved"]);
  EXPECT_LT(peak["reserved"], peak["process"]);
  std::int64_t sum = 0;
  for (const auto& [name, bytes] : forecast["by_category"].items()) sum += bytes.get<std::int64_t>();
  EXPECT_EQ(sum, peak["allocated"].get<std::int64_t>());
  // 2 -> 8 -> 3: weights and biases, each in blocks of 512 bytes.
  EXPECT_EQ(forecast["by_category"]["parameters"], 4 * 512);
}

TEST(Rehearse, TrainsForRealRightAfter) {
  const Desk desk("after");
  ASSERT_EQ(rehearse(desk, {"--json"}).code, 0);
  const auto trained = desk.train({"--json", "--quiet"});
  EXPECT_EQ(trained.code, 0) << trained.err;
}

// What the documentation says lowers the peak does, also with the validation that training runs in between.
TEST(Rehearse, EveryLeanSettingLowersThePeakOfAGpt) {
  const Desk desk("lean");
  desk.write("tiny.toml",
             "[data]\nbatch_size = 16\n[model]\nkind = \"gpt\"\nlayers = 12\nwidth = 512\nheads = 8\nblock = 512\n"
             "vocabulary = 8192\n[optimizer]\nkind = \"adamw\"\n");
  const auto peak = [&](const std::vector<std::string>& settings) {
    std::vector<std::string> words{"--json"};
    for (const auto& setting : settings) words.insert(words.end(), {"--set", setting});
    const auto result = rehearse(desk, words);
    EXPECT_EQ(result.code, 0) << result.err;
    return result.code == 0 ? json::parse(result.out)["peak"]["allocated"].get<std::int64_t>() : 0;
  };
  const auto plain = peak({});
  for (const char* lean : {"memory.checkpointing=all", "memory.chunked_loss=true", "memory.offload=activations",
                           "precision.compute=bf16", "optimizer.states=8bit"})
    EXPECT_LT(peak({lean}), plain) << lean;
  // Gradients go one by one here, but this model's peak lies before the first of them.
  EXPECT_GT(peak({"memory.optimizer_in_backward=true"}), 0);
}

// 48 of the 60 rows are trained on, in batches of 10: the last has 8. With 40 there is no such batch.
TEST(Rehearse, TheLastShortBatchIsAStepOfItsOwn) {
  const Desk desk("short");
  const auto steps = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--json", "--steps", "2"});
    const auto result = rehearse(desk, more);
    EXPECT_EQ(result.code, 0) << result.err;
    return json::parse(result.out)["steps"].get<int>();
  };
  EXPECT_EQ(steps({}), 4);  // the short one, and a regular one that finds the cache as the short one left it
  EXPECT_EQ(steps({"--samples", "40"}), 2);
}

TEST(Rehearse, SequencesOfOtherLengthsAreRehearsedWhereThereAreSequences) {
  const Desk desk("lengths");
  EXPECT_EQ(rehearse(desk, {"--lengths", "8"}).code, 2);
  desk.write("tiny.toml",
             "[data]\nbatch_size = 4\n[model]\nkind = \"gpt\"\nlayers = 1\nwidth = 32\nheads = 2\nblock = 64\n"
             "vocabulary = 128\n[optimizer]\nkind = \"adamw\"\n");
  const auto result = rehearse(desk, {"--json", "--steps", "2", "--lengths", "64,16"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out)["steps"], 5);
  EXPECT_EQ(rehearse(desk, {"--lengths", "0"}).code, 2);
  const auto longer = rehearse(desk, {"--lengths", "65"});
  EXPECT_EQ(longer.code, 2);
  EXPECT_NE(longer.err.find("1 to 64"), std::string::npos) << longer.err;
}

// The trainer asks the scaler whether it stepped; nothing overflows in a rehearsal, so that is nobody's assumption.
TEST(Rehearse, TheScalersFlagIsNotAValueToState) {
  const Desk desk("flag");
  const auto result = rehearse(desk, {"--json", "--set", "precision.compute=fp16"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(json::parse(result.out)["notes"].empty()) << result.out;
}

// Made in backward or after it, the optimizer's state is the optimizer's.
TEST(Rehearse, StateMadeInBackwardIsTheOptimizers) {
  const Desk desk("backward");
  const auto categories = [&](const std::string& setting) {
    const auto result = rehearse(desk, {"--json", "--set", "model.hidden=[512,512]", "--set", setting});
    EXPECT_EQ(result.code, 0) << result.err;
    return json::parse(result.out)["by_category"];
  };
  const auto plain = categories("memory.optimizer_in_backward=false");
  const auto in_backward = categories("memory.optimizer_in_backward=true");
  EXPECT_EQ(in_backward["optimizer"], plain["optimizer"]);
  EXPECT_LT(in_backward["gradients"], plain["gradients"]);
}

TEST(Rehearse, WritesPageSnapshotAndPicture) {
  const Desk desk("files");
  const auto result = rehearse(desk, {"--html", desk.path("p.html"), "--snapshot", desk.path("p.pickle"), "--svg",
                                      desk.path("p.svg"), "--quiet"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto snapshot = allocator::read_snapshot(desk.path("p.pickle"));
  ASSERT_EQ(snapshot.traces.size(), 1U);
  EXPECT_GT(snapshot.traces[0].size(), 100U);
  for (const char* file : {"p.html", "p.svg"}) EXPECT_GT(std::filesystem::file_size(desk.path(file)), 1000U);
}

TEST(Rehearse, InWslSegmentsAreAtRisingAddresses) {
  const Desk desk("wsl");
  const auto first_is_lowest = [&](const std::vector<std::string>& how) {
    std::vector<std::string> arguments = {"--snapshot", desk.path("s.pickle"), "--quiet", "--set",
                                          "model.hidden=[4096,4096]"};
    arguments.insert(arguments.end(), how.begin(), how.end());
    const auto result = rehearse(desk, arguments);
    EXPECT_EQ(result.code, 0) << result.err;
    std::vector<std::uint64_t> segments;
    const auto snapshot = allocator::read_snapshot(desk.path("s.pickle"));
    for (const auto& event : snapshot.traces.at(0))
      if (event.action == allocator::Action::segment_alloc) segments.push_back(event.address);
    return segments.size() > 1 && segments.front() == *std::min_element(segments.begin(), segments.end());
  };
  EXPECT_TRUE(first_is_lowest({"--wsl"}));
  EXPECT_FALSE(first_is_lowest({}));
}

// 70 billion parameters, on a machine with far less memory; no GPU holds it.
TEST(Rehearse, AModelTooLargeForHostAndGpuIsCodeThree) {
  const Desk desk("large");
  desk.write("tiny.toml",
             "[data]\nbatch_size = 1\n[model]\nkind = \"gpt\"\nlayers = 86\nwidth = 8192\nheads = 64\nblock = 128\n"
             "vocabulary = 32000\n[optimizer]\nkind = \"adamw\"\n");
  const auto result = rehearse(desk, {"--json", "--gpu", "H100", "--steps", "1"});
  ASSERT_EQ(result.code, 3) << result.err;
  const auto forecast = json::parse(result.out);
  EXPECT_FALSE(forecast["fits"]);
  const auto parameters = 86 * 12 * std::int64_t{8192} * 8192 + 32128 * std::int64_t{8192} + 173 * 8192;
  EXPECT_GT(parameters, 69'000'000'000);
  EXPECT_EQ(forecast["by_category"]["parameters"], 4 * parameters);
  EXPECT_NE(forecast["notes"].back().get<std::string>().find("No card known here holds it"), std::string::npos);
}

TEST(Rehearse, WhatDoesNotFitNamesTheSmallestCardThatWouldHoldIt) {
  const Desk desk("small");
  desk.write("tiny.toml",
             "[data]\nbatch_size = 8\n[model]\nkind = \"gpt\"\nlayers = 12\nwidth = 768\nheads = 12\nblock = 1024\n"
             "vocabulary = 50257\n[optimizer]\nkind = \"adamw\"\n");
  const auto result = rehearse(desk, {"--json", "--gpu", "RTX 3060 Laptop", "--steps", "2"});
  ASSERT_EQ(result.code, 3) << result.err;
  const auto note = json::parse(result.out)["notes"].back().get<std::string>();
  const auto start = note.find("holds it: ") + 10;
  const auto card = note.substr(start, note.find(". Parameters") - start);
  EXPECT_EQ(rehearse(desk, {"--json", "--gpu", card, "--steps", "2"}).code, 0) << note;
}

TEST(Rehearse, MistakesNameTheNearest) {
  const Desk desk("mistakes");
  const auto gpu = rehearse(desk, {"--gpu", "RTX 409"});
  EXPECT_EQ(gpu.code, 2);
  EXPECT_NE(gpu.err.find("4090"), std::string::npos) << gpu.err;
  const auto key = rehearse(desk, {"--set", "optimizer.weigth_decay=0.1"});
  EXPECT_EQ(key.code, 2);
  EXPECT_NE(key.err.find("weight_decay"), std::string::npos) << key.err;
  EXPECT_EQ(rehearse(desk, {"--set", "data.batch_size=0"}).code, 2);
  EXPECT_EQ(rehearse(desk, {"--steps", "0"}).code, 2);
  EXPECT_EQ(rehearse(desk, {"--samples", "0"}).code, 2);
  EXPECT_EQ(rehearse(desk, {"--sample", "3xx2"}).code, 2);
  EXPECT_EQ(harness::run({"rehearse"}).code, 2);
}

TEST(Rehearse, APolicyThatABudgetChoosesIsSentToPlan) {
  const Desk desk("budget");
  const auto result = rehearse(desk, {"--set", "memory.checkpointing=budget"});
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.err.find("athanor plan"), std::string::npos) << result.err;
  const auto unknown = rehearse(desk, {"--set", "memory.checkpointing=alll"});
  EXPECT_NE(unknown.err.find("memory.checkpointing: must be"), std::string::npos) << unknown.err;
}

TEST(Rehearse, CoverageListsEveryOperator) {
  const auto result = harness::run({"rehearse", "--coverage", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto operators = json::parse(result.out)["operators"];
  EXPECT_GT(operators.size(), 1200U);
  EXPECT_GT(json::parse(result.out)["sparse"].size(), 150U);
}

}  // namespace
}  // namespace athanor::cli
