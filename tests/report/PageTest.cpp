#include "athanor/report/Page.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "athanor/core/AtomicFile.h"
#include "support/TemporaryFolder.h"

namespace athanor::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json data_of(const std::string& page) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const auto begin = page.find(open) + open.size();
  return json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

Run run_of(const fs::path& folder, const std::string& metrics, const std::string& about, const std::string& config) {
  fs::create_directories(folder);
  std::ofstream(folder / "metrics.csv") << metrics;
  std::ofstream(folder / "run.json") << about;
  std::ofstream(folder / "config.toml") << config;
  return read_run(folder);
}

constexpr const char* kMetrics =
    "step,epoch,split,name,value\n10,0,train,loss,0.69314718055994529\n10,0,train,lr,3.0000000000000001e-05\n"
    "20,1,val,loss,0.10000000000000001\n20,1,train,loss,nan\n20,1,train,memory_resident,1073741824\n";

TEST(Page, ValuesAreThoseOfMetricsCsvToTheBit) {
  const test::TemporaryFolder folder;
  const std::array runs{run_of(folder / "a", kMetrics, "{}", "")};
  const json series = data_of(page(runs)).at("runs").at(0).at("series");
  // Read by another way than the program's own: split at commas, strtod.
  std::map<std::string, std::vector<std::pair<long, double>>> expected;
  std::istringstream lines(kMetrics);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::array<std::string, 5> cells;
    std::istringstream cut(line);
    for (auto& cell : cells) std::getline(cut, cell, ',');
    expected[cells[2] + "_" + cells[3]].emplace_back(std::stol(cells[0]), std::strtod(cells[4].c_str(), nullptr));
  }
  ASSERT_EQ(series.size(), expected.size());
  for (const auto& one : series) {
    const auto& rows = expected.at(one.at("split").get<std::string>() + "_" + one.at("name").get<std::string>());
    ASSERT_EQ(one.at("x").size(), rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(one.at("x").at(i), rows[i].first);
      if (std::isnan(rows[i].second)) {
        EXPECT_EQ(one.at("y").at(i), "nan");
      } else {
        EXPECT_EQ(one.at("y").at(i).get<double>(), rows[i].second);
      }
    }
  }
}

TEST(Page, IsOneFileThatAsksNobody) {
  const test::TemporaryFolder folder;
  const std::array runs{run_of(folder / "a", kMetrics, "{}", "")};
  const std::string html = page(runs);
  for (const char* outside : {"http:", "https:", "src=", "@import", "url(", "fetch(", "XMLHttpRequest", "WebSocket"}) {
    // The name of SVG's namespace is not an address that is asked.
    std::string rest = std::regex_replace(html, std::regex("http://www\\.w3\\.org/2000/svg"), "");
    EXPECT_EQ(rest.find(outside), std::string::npos) << outside;
  }
  EXPECT_EQ(html.find("{{"), std::string::npos);
}

TEST(Page, NothingFromARunBecomesMarkup) {
  const test::TemporaryFolder folder;
  const std::string evil = "</script><script>alert(1)</script>";
  const json about = {{"name", evil}, {"status", "\"><b>"}, {"note", evil}, {"reason", evil + "{{data}}"}};
  const std::array runs{
      run_of(folder / "a", "1,0,train," + evil + ",1\n", about.dump(), "x = '" + evil + "'  # " + evil)};
  const std::string html = page(runs);
  EXPECT_EQ(html.find("<script>alert"), std::string::npos);
  EXPECT_EQ(html.find("\"><b>"), std::string::npos);
  EXPECT_EQ(data_of(html).at("title"), evil);
}

TEST(Page, ShowsStatusBestCheckpointsSourcesAndEnvironment) {
  const test::TemporaryFolder folder;
  fs::create_directories(folder / "a/checkpoints/step-00000020");
  std::ofstream(folder / "a/checkpoints/step-00000020/MANIFEST.json") << "{}";
  const std::array runs{
      run_of(folder / "a", kMetrics,
             R"({"status": "early_stopped", "reason": "no better for 3 epochs", "versions": {"torch": "2.15.0"},
        "best": {"metric": "val_loss", "value": 0.1, "epoch": 1}, "memory": {"forecast": 2147483648}})",
             "[optimizer]\nlr = 0.003  # --set\nbeta = 0.9  # default\n")};
  const std::string html = page(runs);
  for (const char* text : {"early stopped", "no better for 3 epochs", "versions.torch", "2.15.0", "optimizer.lr",
                           "--set", "<tr class=\"default\"><td class=k>optimizer.beta"})
    EXPECT_NE(html.find(text), std::string::npos) << text;
  const json data = data_of(html);
  std::map<std::string, long> marks;
  for (const auto& mark : data.at("runs").at(0).at("marks")) marks[mark.at("kind")] = mark.at("step");
  EXPECT_EQ(marks, (std::map<std::string, long>{{"best", 20}, {"checkpoint", 20}, {"stopped", 20}}));
  EXPECT_EQ(data.at("panels").front().at("title"), "loss");
  EXPECT_EQ(data.at("panels").back().at("title"), "memory");
  EXPECT_EQ(data.at("panels").back().at("limits").at(0).at("value"), 2147483648.0);
}

TEST(Page, KnowsWhenEachStepWasDoneOverAResumeToo) {
  const test::TemporaryFolder folder;
  std::string metrics = "step,epoch,split,name,value\n";
  // Two seconds a step; after step 50 the run was resumed, and its clock with it.
  for (int step = 10; step <= 100; step += 10)
    metrics += std::to_string(step) + ",0,train,loss,1\n" + std::to_string(step) + ",0,train,elapsed_seconds," +
               std::to_string(2 * (step > 50 ? step - 50 : step)) + "\n";
  const std::array runs{run_of(folder / "a", metrics, "{}", "")};
  const std::string html = page(runs);
  EXPECT_NE(html.find("id=\"time\""), std::string::npos);
  const json run = data_of(html).at("runs").at(0);
  ASSERT_EQ(run.at("clock").at("x").size(), 10u);
  for (std::size_t i = 0; i < 10; ++i)
    EXPECT_EQ(run.at("clock").at("y").at(i), 2.0 * run.at("clock").at("x").at(i).get<double>());
  EXPECT_EQ(run.at("series").size(), 1u) << "the time is an axis, not a curve";
  const std::array without{run_of(folder / "b", kMetrics, "{}", "")};
  EXPECT_EQ(page(without).find("id=\"time\""), std::string::npos);
}

TEST(Page, TheForecastIsALimitAndNoCurve) {
  const test::TemporaryFolder folder;
  const std::array runs{run_of(folder / "a", "1,0,train,memory_reserved,1048576\n1,0,train,memory_forecast,2097152\n",
                               R"({"memory": {"forecast": 2097152}})", "")};
  const json data = data_of(page(runs));
  EXPECT_EQ(data.at("panels").at(0).at("names"), json::array({"memory_reserved"}));
  EXPECT_EQ(data.at("panels").at(0).at("limits").at(0).at("value"), 2097152.0);
}

TEST(Page, SeveralRunsSideBySide) {
  const test::TemporaryFolder folder;
  const std::array runs{run_of(folder / "a", kMetrics, "{\"name\": \"one\"}", "lr = 1  # file\nx = 2  # default"),
                        run_of(folder / "b", kMetrics, "{\"name\": \"two\"}", "lr = 3  # file\nx = 2  # default")};
  const std::string html = page(runs);
  EXPECT_NE(html.find("<tr class=\"differs\"><td class=k>lr</td><td class=v>1</td><td class=v>3</td>"),
            std::string::npos);
  EXPECT_NE(html.find("<tr class=\"default\"><td class=k>x"), std::string::npos);
  EXPECT_EQ(data_of(html).at("runs").size(), 2u);
}

TEST(Page, AMillionPointsStayUnderThreeMegabytesWithTheirPeaks) {
  const test::TemporaryFolder folder;
  std::string metrics = "step,epoch,split,name,value\n";
  for (int i = 0; i < 250000; ++i) {
    const std::string step = std::to_string(i) + "," + std::to_string(i / 100);
    const std::string noise = "0." + std::to_string(i * 7919LL % 1000003 + 1000003);
    metrics += step + ",train,loss," + (i == 123457 ? "98765.4321" : noise) + "\n" + step + ",train,lr," + noise + "\n";
    metrics += step + ",train,grad_norm," + noise + "\n" + step + ",train,items_per_second," + noise + "\n";
  }
  const std::array runs{run_of(folder / "a", metrics, "{}", "")};
  const std::string html = page(runs);
  EXPECT_LT(html.size(), std::size_t{3} << 20);
  const json loss = data_of(html).at("runs").at(0).at("series").at(0);
  EXPECT_EQ(loss.at("n"), 250000);
  bool peak = false;
  for (std::size_t i = 0; i < loss.at("x").size(); ++i)
    peak = peak || (loss.at("x").at(i) == 123457 && loss.at("y").at(i) == 98765.4321);
  EXPECT_TRUE(peak);
}

TEST(Page, RefusesNonsense) {
  EXPECT_THROW(page({}), std::invalid_argument);
}

// Contrast of texts and curves on both grounds in both schemes, by WCAG 2.1's definition: AA asks for 4.5.
double luminance(const std::string& hex) {
  const auto channel = [&](std::size_t at) {
    const double c = std::stoi(hex.substr(at, 2), nullptr, 16) / 255.0;
    return c <= 0.03928 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
}

TEST(Page, EveryInkReadsOnEveryGround) {
  const std::string css = core::read_file(fs::path(ATHANOR_SOURCE_DIR) / "src/report/page/page.css");
  const auto dark_begins = css.find("prefers-color-scheme: dark");
  for (const std::string& scheme :
       {css.substr(0, dark_begins), css.substr(dark_begins, css.find("* {") - dark_begins)}) {
    std::map<std::string, std::string> colours;
    const std::regex form("--([a-z0-9]+): (#[0-9a-f]{6})");
    for (std::sregex_iterator at(scheme.begin(), scheme.end(), form), end; at != end; ++at)
      colours[(*at)[1]] = (*at)[2];
    ASSERT_EQ(colours.size(), 18u);
    for (const auto& [name, colour] : colours) {
      if (name == "paper" || name == "panel" || name == "line" || name == "grid") continue;
      for (const char* ground : {"paper", "panel"}) {
        const double a = luminance(colour), b = luminance(colours.at(ground));
        EXPECT_GE((std::max(a, b) + 0.05) / (std::min(a, b) + 0.05), 4.5) << name << " on " << ground;
      }
    }
  }
}

}  // namespace
}  // namespace athanor::report
