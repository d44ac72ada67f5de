// gpus, report and inspect as a person or a script calls them.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "Harness.h"

namespace athanor::cli {
namespace {

namespace fs = std::filesystem;
using harness::Desk;
using harness::run;
using nlohmann::json;

// The driver that gpus meets while it lives.
struct Driver {
  explicit Driver(const std::string& path) { setenv("ATHANOR_NVML", path.c_str(), 1); }
  ~Driver() { unsetenv("ATHANOR_NVML"); }
};
std::string standin(const std::string& variant) {
  return std::string(ATHANOR_STANDINS) + "/libnvml_" + variant + ".so";
}

TEST(Gpus, WithoutADriverOneLineAndSuccess) {
  const Driver none("/nowhere/libnvidia-ml.so.1");
  const auto plain = run({"gpus"});
  EXPECT_EQ(plain.code, 0);
  EXPECT_EQ(plain.out, "");
  EXPECT_EQ(std::count(plain.err.begin(), plain.err.end(), '\n'), 1);
  const auto document = run({"gpus", "--json"});
  EXPECT_EQ(document.code, 0);
  EXPECT_TRUE(json::parse(document.out).at("gpus").empty());
  EXPECT_EQ(run({"gpus", "--watch"}).code, 0);
  EXPECT_EQ(run({"gpus", "--wait", "1GiB"}).code, 1);
}

TEST(Gpus, NoLineOfTheTablesIsWiderThanEightyAndNothingIsPaintedInAPipe) {
  const Driver driver(standin("one"));
  const auto result = run({"gpus"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out.find('\033'), std::string::npos);
  EXPECT_NE(result.out.find("GeForce RTX 4090"), std::string::npos);
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line) && line.find("command") == std::string::npos;)
    EXPECT_LE(line.size(), 82u) << line;  // bytes; the degree sign has two
}

TEST(Gpus, JsonHasBytes) {
  const Driver driver(standin("mig"));
  const json card = json::parse(run({"gpus", "--json"}).out).at("gpus").at(0);
  EXPECT_EQ(card.at("memory").at("total"), 81920LL * 1024 * 1024);
  EXPECT_EQ(card.at("slices").size(), 2u);
  EXPECT_TRUE(card.at("busy_percent").is_null());
}

TEST(Gpus, WaitPrintsTheCardOnceItHasRoom) {
  {
    const Driver driver(standin("freeing"));
    const auto result = run({"gpus", "--wait", "12GiB", "--interval", "0.05"});
    EXPECT_EQ(result.code, 0);
    EXPECT_EQ(result.out, "0\n");
    EXPECT_NE(result.err.find("waiting for 12.0 GiB"), std::string::npos);
  }
  const Driver driver(standin("mig"));
  EXPECT_EQ(run({"gpus", "--wait", "38GiB"}).out.substr(0, 4), "MIG-");  // a part, by the name CUDA takes
  EXPECT_EQ(run({"gpus", "--wait", "60GiB"}).code, 3);                   // no part is that large
  EXPECT_EQ(run({"gpus", "--wait", "lots"}).code, 2);
  EXPECT_EQ(run({"gpus", "--watch", "--json"}).code, 2);
}

TEST(Gpus, TheTableListsAndTakesAUsersOwn) {
  EXPECT_GE(json::parse(run({"gpus", "--table", "--json"}).out).at("gpus").size(), 40u);
  const Desk desk("gpus");
  desk.write("own.toml",
             "[[gpu]]\nname = \"Mine\"\nmemory_gib = 3\ncompute_capability = \"8.9\"\nsm_count = 4\n"
             "threads_per_sm = 1536\nbandwidth_gb_per_s = 99\ntflops = { fp32 = 1 }\n");
  EXPECT_NE(run({"gpus", "--table", "--gpu-table", desk.path("own.toml")}).out.find("Mine"), std::string::npos);
  desk.write("own.toml", "[[gpu]]\nname = \"Mine\"\n");
  const auto bad = run({"gpus", "--table", "--gpu-table", desk.path("own.toml")});
  EXPECT_EQ(bad.code, 2);
  EXPECT_NE(bad.err.find("own.toml"), std::string::npos);
}

TEST(See, ATrainingsMemoryReportAndCheckpoints) {
  const Desk desk("see");
  ASSERT_EQ(desk.train({"--set", "log.every_steps=1", "--forecast", "1KiB"}).code, 0);
  std::ifstream metrics(desk.path("run/metrics.csv"));
  const std::string rows{std::istreambuf_iterator<char>(metrics), {}};
  EXPECT_NE(rows.find(",train,memory_resident,"), std::string::npos);
  EXPECT_NE(rows.find(",train,memory_highest,"), std::string::npos);
  EXPECT_NE(rows.find(",train,memory_forecast,1024\n"), std::string::npos);
  EXPECT_NE(rows.find(",train,elapsed_seconds,"), std::string::npos);
  std::ifstream about(desk.path("run/run.json"));
  const json memory = json::parse(about).at("memory");
  EXPECT_EQ(memory.at("forecast"), 1024);
  EXPECT_GT(memory.at("highest"), 1024);
  EXPECT_TRUE(fs::exists(desk.path("run/report.html")));

  const auto report = run({"report", desk.path("run"), desk.path("run"), "--out", desk.path("both.html"), "--json"});
  EXPECT_EQ(report.code, 0);
  EXPECT_EQ(json::parse(report.out).at("bytes"), fs::file_size(desk.path("both.html")));

  const auto inspected = run({"inspect", desk.path("run"), "--json"});
  EXPECT_EQ(inspected.code, 0);
  const json whole = json::parse(inspected.out);
  ASSERT_FALSE(whole.at("checkpoints").empty());
  const std::string newest = whole.at("checkpoints").at(0).at("path");
  EXPECT_EQ(whole.at("checkpoints").at(0).at("whole"), true);
  EXPECT_NE(run({"inspect", newest, newest}).out.find("equal"), std::string::npos);
  std::ofstream(newest + "/model.safetensors", std::ios::app) << "x";
  const auto damaged = run({"inspect", newest});
  EXPECT_EQ(damaged.code, 1);
  EXPECT_NE(damaged.out.find("damaged"), std::string::npos);
}

// Every logged value of the memory is what the system says of this very process, and the highest never falls.
TEST(See, TheWatchedMemoryIsTheProcesss) {
  const Desk desk("watched");
  ASSERT_EQ(desk.train({"--set", "log.every_steps=1"}).code, 0);
  std::ifstream metrics(desk.path("run/metrics.csv"));
  std::ifstream statm("/proc/self/statm");
  double size = 0, resident_pages = 0, highest = 0;
  statm >> size >> resident_pages;
  const double now = resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE));
  int seen = 0;
  for (std::string line; std::getline(metrics, line);) {
    const double value = std::strtod(line.substr(line.rfind(',') + 1).c_str(), nullptr);
    if (line.find(",memory_resident,") != std::string::npos) {
      EXPECT_NEAR(value, now, 0.2 * now) << line;
      ++seen;
    }
    if (line.find(",memory_highest,") != std::string::npos) {
      EXPECT_GE(value, highest);
      highest = value;
    }
    EXPECT_EQ(line.find("memory_forecast"), std::string::npos) << "a CPU has no GPU's forecast";
  }
  EXPECT_GE(seen, 8);
  std::ifstream about(desk.path("run/run.json"));
  EXPECT_GE(json::parse(about).at("memory").at("highest"), highest);
}

TEST(See, AWrongForecastIsSaidAtTheEnd) {
  const Desk desk("forecast");
  EXPECT_NE(desk.train({"--forecast", "1KiB"}).err.find("more"), std::string::npos);
  EXPECT_EQ(desk.train({"--forecast", "soon"}).code, 2);
}

TEST(See, BadInputIsOneLineThatNamesIt) {
  const Desk desk("bad");
  for (const std::vector<std::string>& words : {std::vector<std::string>{"report", desk.path("nowhere")},
                                                {"report", desk.folder.string()},
                                                {"inspect", desk.path("nowhere")},
                                                {"inspect", desk.path("tiny.toml")},
                                                {"inspect", desk.folder.string()}}) {
    const auto result = run(words);
    EXPECT_EQ(result.code, 1) << words[0];
    EXPECT_NE(result.err.find(words[1]), std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
  EXPECT_EQ(run({"report"}).code, 2);
  EXPECT_EQ(run({"inspect", "a", "b", "c"}).code, 2);
}

}  // namespace
}  // namespace athanor::cli
