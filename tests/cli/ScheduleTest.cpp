#include <gtest/gtest.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "cli/Harness.h"

namespace athanor::cli {
namespace {

using harness::Desk;
using harness::run;
using nlohmann::json;

// Characters, not bytes: every byte of UTF-8 but the continuations begins one.
std::size_t columns_of(const std::string& line) {
  return static_cast<std::size_t>(std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

TEST(ScheduleCommand, CsvHolds17Digits) {
  const auto result = run(
      {"schedule", "--spec", "kind = 'step'\nstep_size = 2\ngamma = 0.7", "--base-lr", "0.1", "--steps", "4", "--csv"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "step,lr\n0,0.10000000000000001\n1,0.10000000000000001\n2,0.069999999999999993\n3,0.069999999999999993\n");
  const auto cycle = run({"schedule", "--spec", "{ kind = 'one_cycle', total_steps = 3 }", "--csv"});
  EXPECT_EQ(cycle.out.substr(0, 17), "step,lr,momentum\n") << cycle.err;
}

TEST(ScheduleCommand, JsonIsOneDocument) {
  const auto result = run({"schedule", "--json", "--spec", "{ kind = 'linear_warmup', steps = 10 }", "--steps", "20"});
  const auto document = json::parse(result.out);
  EXPECT_EQ(document.at("points").size(), 20U);
  EXPECT_DOUBLE_EQ(document.at("points")[0].at("lr").get<double>(), 1e-4);
  EXPECT_EQ(document.at("kind"), "linear_warmup");
}

TEST(ScheduleCommand, APictureFits80ColumnsAndAnSvgIsWritten) {
  const Desk desk("schedule");
  const auto svg = desk.path("rate.svg");
  const auto result = run({"schedule", "--spec", "{ kind = 'cosine_annealing', t_max = 100 }", "--svg", svg});
  EXPECT_EQ(result.code, 0) << result.err;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);)
    EXPECT_LE(columns_of(line), 80U) << line;  // ASCII in a pipe or less
  EXPECT_TRUE(std::filesystem::exists(svg));
}

TEST(ScheduleCommand, ReadsAConfigurationAndItsRate) {
  const Desk desk("schedule-config");
  desk.write("c.toml", desk.config() + "[schedule]\nkind = 'exponential'\ngamma = 0.5\n");
  const auto result = run({"schedule", desk.path("c.toml"), "--csv", "--steps", "2"});
  EXPECT_EQ(result.out, "step,lr\n0,0.01\n1,0.0050000000000000001\n") << result.err;
}

TEST(ScheduleCommand, APlateauFollowsAFileOfMetrics) {
  const Desk desk("plateau");
  desk.write("m.txt", "1.0 0.5\n0.5, 0.5 # a comment\n0.5\n");
  const auto spec = "{ kind = 'reduce_on_plateau', factor = 0.5, patience = 1, verbose = true }";
  const auto result = run({"schedule", "--spec", spec, "--metrics", desk.path("m.txt"), "--base-lr", "1", "--csv"});
  EXPECT_EQ(result.out, "step,lr\n0,1\n1,1\n2,1\n3,1\n4,0.5\n5,0.5\n") << result.err;
  EXPECT_NE(result.err.find("observation 4: the learning rate goes from 1 to 0.5"), std::string::npos) << result.err;
  desk.write("bad.txt", "1.0\nnan\n");
  EXPECT_EQ(run({"schedule", "--spec", spec, "--metrics", desk.path("bad.txt")}).code, 2);
  EXPECT_EQ(run({"schedule", "--spec", spec, "--metrics", desk.path("absent.txt")}).code, 1);
  EXPECT_EQ(run({"schedule", "--spec", spec}).code, 2);
}

TEST(ScheduleCommand, MistakesAreOneLineAndExit2) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"schedule"},
        {"schedule", "--spec", "kind = 'cosin'"},
        {"schedule", "--spec", "{ kind = 'multi_step', milestones = [30, 80] }", "--steps", "50"},
        {"schedule", "--spec", "{ kind = 'one_cycle', total_steps = 10 }", "--steps", "12"},
        {"schedule", "--spec", "{ kind = 'cosine_annealing', t_max = 10, eta_min = 1.0 }"},
        {"schedule", "--spec", "kind = "},
        {"schedule", "--spec", "kind = 'fixed'", "--base-lr", "-1"}}) {
    const auto result = run(words);
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_TRUE(result.out.empty()) << result.out;
  }
}

TEST(FindLrCommand, SuggestsARateAndIsTheSameTwice) {
  const Desk desk("find-lr");
  const auto result = run({"find-lr", desk.path("tiny.toml"), "--json", "--lr-max", "100"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto document = json::parse(result.out);
  EXPECT_GT(document.at("points").size(), 20U);
  ASSERT_TRUE(document.at("suggestion").is_number()) << result.out;
  EXPECT_EQ(run({"find-lr", desk.path("tiny.toml"), "--json", "--lr-max", "100"}).out, result.out);
  EXPECT_EQ(run({"find-lr", desk.path("tiny.toml"), "--lr-min", "-1"}).code, 2);
}

}  // namespace
}  // namespace athanor::cli
