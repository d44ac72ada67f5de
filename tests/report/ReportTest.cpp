#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>

#include "athanor/core/Error.h"
#include "athanor/report/Run.h"
#include "athanor/report/Thin.h"
#include "report/ConfigFile.h"
#include "support/TemporaryFolder.h"

namespace athanor::report {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

TEST(Thin, ShortSeriesStayAsTheyAre) {
  const Points points{{1, 2, 3}, {0.5, 0.25, 0.125}};
  const Thinned thinned = thin(points, 8);
  EXPECT_EQ(thinned.points.values, points.values);
  EXPECT_EQ(thinned.means.size(), 0u);
  EXPECT_THROW(thin(points, 7), std::invalid_argument);
}

TEST(Thin, NoExtremeEndOrNanIsLostAndEveryPointWasThere) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 20; ++round) {
    Points points;
    const std::size_t count = 1000 + random() % 20000;
    for (std::size_t i = 0; i < count; ++i) {
      points.steps.push_back(static_cast<std::int64_t>(3 * i));
      points.values.push_back(static_cast<double>(random() % 100000) / 1000.0);
    }
    const std::size_t high = random() % count, low = random() % count, broken = random() % count;
    points.values[broken] = std::numeric_limits<double>::quiet_NaN();
    points.values[low] = -1;
    points.values[high] = 1e9;
    const Thinned thinned = thin(points, 200);
    EXPECT_LE(thinned.points.size(), 260u);
    EXPECT_EQ(thinned.points.steps.front(), points.steps.front());
    EXPECT_EQ(thinned.points.steps.back(), points.steps.back());
    bool has_low = low == high, has_high = false, has_nan = broken == low || broken == high;
    for (std::size_t i = 0; i < thinned.points.size(); ++i) {
      const auto at = static_cast<std::size_t>(thinned.points.steps[i] / 3);
      const double value = thinned.points.values[i];
      EXPECT_TRUE(value == points.values[at] || (std::isnan(value) && std::isnan(points.values[at])));
      has_low = has_low || value == -1;
      has_high = has_high || value == 1e9;
      has_nan = has_nan || std::isnan(value);
      if (i > 0) {
        EXPECT_LT(thinned.points.steps[i - 1], thinned.points.steps[i]);
      }
    }
    EXPECT_TRUE(has_low && has_high && has_nan) << "round " << round;
  }
}

TEST(Thin, MeansAreTheMeansOfAllPoints) {
  Points points;
  double sum = 0;
  for (int i = 0; i < 4000; ++i) {
    points.steps.push_back(i);
    points.values.push_back(i % 7);
    sum += i % 7;
  }
  const Thinned thinned = thin(points, 400);  // 100 buckets of 40 points
  double of_means = 0;
  for (const double mean : thinned.means.values) of_means += mean;
  EXPECT_NEAR(of_means / static_cast<double>(thinned.means.size()), sum / 4000, 1e-12);
}

TEST(Settings, KeysValuesAndSources) {
  const auto settings = read_settings(
      "title = \"a # b\"  # file\n[optimizer]\nlr = 3e-4  # --set\n# clip is not set\n\n[[schedule.parts]]\nkind = "
      "'x'\n"
      "[[schedule.parts]]\nkind = \"\\\"#\"  # default\nmilestones = [30, 80]  # file\nnonsense\n");
  ASSERT_EQ(settings.size(), 5u);
  EXPECT_EQ(settings[0].value, "\"a # b\"");
  EXPECT_EQ(settings[0].source, "file");
  EXPECT_EQ(settings[1].key, "optimizer.lr");
  EXPECT_EQ(settings[1].source, "--set");
  EXPECT_EQ(settings[2].key, "schedule.parts.0.kind");
  EXPECT_EQ(settings[2].source, "");
  EXPECT_EQ(settings[3].key, "schedule.parts.1.kind");
  EXPECT_EQ(settings[3].value, "\"\\\"#\"");
  EXPECT_EQ(settings[4].value, "[30, 80]");
}

TEST(Run, IsReadAsFarAsItIsThere) {
  const test::TemporaryFolder folder;
  write(
      folder / "run/metrics.csv",
      "step,epoch,split,name,value\n10,0,train,loss,0.5\n10,0,train,lr,1e-3\n20,1,train,loss,nan\n20,1,val,loss,0.1\n");
  write(folder / "run/checkpoints/step-00000020/MANIFEST.json", "{}");
  write(folder / "run/checkpoints/step-00000030/model.safetensors", "not finished: no manifest");
  write(folder / "run/checkpoints/tmp/MANIFEST.json", "{}");
  const auto run = read_run(folder / "run");
  EXPECT_EQ(run.name, "run");
  ASSERT_EQ(run.series.size(), 3u);
  EXPECT_EQ(run.find("train", "loss")->points.steps, (std::vector<std::int64_t>{10, 20}));
  EXPECT_TRUE(std::isnan(run.find("train", "loss")->points.values[1]));
  EXPECT_EQ(run.find("val", "loss")->points.values[0], 0.1);
  EXPECT_EQ(run.epochs, (std::vector<std::pair<std::int64_t, std::int64_t>>{{10, 0}, {20, 1}}));
  EXPECT_EQ(run.checkpoints, std::vector<std::int64_t>{20});
  EXPECT_EQ(run.last_step(), 20);
  EXPECT_EQ(run.status(), "");
  EXPECT_EQ(run.problems.size(), 2u);  // no config.toml, no run.json
}

TEST(Run, HalfWrittenAndDamagedFilesAreSaidNotFatal) {
  const test::TemporaryFolder folder;
  write(folder / "torn/metrics.csv", "step,epoch,split,name,value\n1,0,train,loss,2.5\nx,0,train,loss,1\n2,0,tra");
  write(folder / "torn/run.json", "{\"status\": \"running\", ");
  const auto run = read_run(folder / "torn");
  EXPECT_EQ(run.find("train", "loss")->points.size(), 1u);
  std::string all;
  for (const auto& problem : run.problems) all += problem + "\n";
  EXPECT_NE(all.find("last row is not finished"), std::string::npos) << all;
  EXPECT_NE(all.find("line 3"), std::string::npos) << all;
  EXPECT_NE(all.find("run.json"), std::string::npos) << all;

  write(folder / "empty/metrics.csv", "");
  EXPECT_TRUE(read_run(folder / "empty").series.empty());
  write(folder / "binary/metrics.csv", std::string(3 << 20, '\xFE'));
  EXPECT_TRUE(read_run(folder / "binary").series.empty());
  fs::create_directories(folder / "nothing");
  EXPECT_THROW(read_run(folder / "nothing"), Error);
  EXPECT_THROW(read_run(folder / "absent"), Error);
}

TEST(Run, AResumeFromAnOlderCheckpointReplacesWhatCameAfterIt) {
  const test::TemporaryFolder folder;
  write(folder / "metrics.csv",
        "step,epoch,split,name,value\n1,0,train,loss,4\n2,0,train,loss,3\n3,1,train,loss,2\n2,0,train,loss,2.5\n3,1,"
        "train,loss,1\n");
  const auto run = read_run(folder.path());
  EXPECT_EQ(run.series[0].points.steps, (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(run.series[0].points.values, (std::vector<double>{4, 2.5, 1}));
}

TEST(Run, AbysmallyNestedJsonIsRefused) {
  const test::TemporaryFolder folder;
  std::string deep;
  for (int i = 0; i < 1000000; ++i) deep += "{\"a\":";
  write(folder / "run.json", deep + "1" + std::string(1000000, '}'));
  const auto run = read_run(folder.path());
  EXPECT_TRUE(run.about.is_null());
  EXPECT_EQ(run.problems.size(), 3u);
  write(folder / "run.json", "{\"name\": \"[[[[{{{{\\\"[[[[\"}");  // brackets in a text are no depth
  EXPECT_EQ(read_run(folder.path()).name, "[[[[{{{{\"[[[[");
}

TEST(Run, TooManyMetricsAreCutOff) {
  const test::TemporaryFolder folder;
  std::string text = "step,epoch,split,name,value\n";
  for (int i = 0; i < 2000; ++i) text += "1,0,train,metric" + std::to_string(i) + ",1\n";
  write(folder / "metrics.csv", text);
  const auto run = read_run(folder.path());
  EXPECT_EQ(run.series.size(), 512u);
}

}  // namespace
}  // namespace athanor::report
