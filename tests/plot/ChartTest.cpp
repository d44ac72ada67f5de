#include "athanor/plot/Chart.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "plot/Thin.h"
#include "plot/Ticks.h"

namespace athanor::plot {
namespace {

Chart chart_of_everything() {
  Chart chart{.title = "A <title> & more", .x = {.label = "step"}, .y = {.label = "rate"}};
  Series wave{.name = "wave"};
  Series bytes{.name = "under"};
  Series more{.name = "over"};
  for (int i = 0; i <= 1000; ++i) {
    for (Series* series : {&wave, &bytes, &more}) series->x.push_back(i);
    wave.y.push_back(2.0 + std::sin(i / 50.0));
    bytes.y.push_back(0.5);
    more.y.push_back(i / 1000.0);
  }
  chart.lines = {wave};
  chart.areas = {bytes, more};
  chart.markers = {{.x = 400, .label = "half"}, {.y = 2.5, .label = "limit"}, {.x = 700, .y = 1.5, .label = "dot"}};
  return chart;
}

int columns_of(const std::string& line) {
  return static_cast<int>(std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

TEST(Chart, TerminalKeepsToItsColumnsAndRows) {
  const Chart chart = chart_of_everything();
  for (const int columns : {24, 40, 80, 200})
    for (const int rows : {8, 20, 50})
      for (const bool unicode : {true, false}) {
        std::istringstream text(chart.terminal({.columns = columns, .rows = rows, .unicode = unicode}));
        int lines = 0;
        for (std::string line; std::getline(text, line); ++lines) EXPECT_LE(columns_of(line), columns) << line;
        EXPECT_EQ(lines, rows);
      }
}

TEST(Chart, AsciiHoldsNothingElse) {
  const std::string text = chart_of_everything().terminal({.unicode = false});
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }))
      << text;
}

TEST(Chart, ColourIsAnsiOnlyWhereAsked) {
  EXPECT_EQ(chart_of_everything().terminal().find('\033'), std::string::npos);
  EXPECT_NE(chart_of_everything().terminal({.colour = true}).find("\033["), std::string::npos);
}

TEST(Chart, SvgEscapesTextAndRefersToNothing) {
  const std::string svg = chart_of_everything().svg();
  EXPECT_NE(svg.find("A &lt;title&gt; &amp; more"), std::string::npos);
  EXPECT_EQ(svg.find("<title>A <"), std::string::npos);
  for (const char* forbidden : {" id=", "href", "<script", "url(", "nan", "inf"})
    EXPECT_EQ(svg.find(forbidden), std::string::npos) << forbidden;
  EXPECT_EQ(svg.rfind("<svg xmlns", 0), 0U);
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
}

TEST(Chart, ALongSeriesIsThinnedAndKeepsItsPeak) {
  Series series{.name = "long"};
  for (int i = 0; i < 1'000'000; ++i) {
    series.x.push_back(i);
    series.y.push_back(i == 123'456 ? 9.0 : 1.0);
  }
  Chart chart{.lines = {series}};
  const auto strokes = strokes_of(series, ranges_of(chart), 700);
  ASSERT_EQ(strokes.size(), 1U);
  EXPECT_LE(strokes[0].size(), 4U * 701U);
  double highest = 0.0;
  for (const Spot& spot : strokes[0]) highest = std::max(highest, spot.y);
  EXPECT_DOUBLE_EQ(highest, ranges_of(chart).y.place(9.0));
  EXPECT_LT(chart.svg().size(), 60'000U);
}

TEST(Chart, WhatCannotBeShownBreaksTheLine) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Series series{.x = {0, 1, 2, 3, 4}, .y = {1, 2, nan, 2, 1}};
  const Chart chart{.lines = {series}};
  EXPECT_EQ(strokes_of(series, ranges_of(chart), 100).size(), 2U);
  const Series falling{.x = {0, 1, 2}, .y = {1.0, 0.0, 1.0}};
  const Chart log{.y = {.scale = Scale::log}, .lines = {falling}};
  EXPECT_EQ(strokes_of(falling, ranges_of(log), 100).size(), 2U) << "zero has no place on a log axis";
}

TEST(Chart, NothingAndASinglePointAreDrawn) {
  EXPECT_NE(Chart{.title = "empty"}.svg().find("nothing to show yet"), std::string::npos);
  EXPECT_NE(Chart{.title = "empty"}.terminal().find("nothing to show yet"), std::string::npos);
  const Chart one{.lines = {{.name = "one", .x = {5}, .y = {0}}}};
  EXPECT_NE(one.svg().find("<circle"), std::string::npos);
  EXPECT_FALSE(one.terminal().empty());
  const Chart logs{.x = {.scale = Scale::log}, .y = {.scale = Scale::log}, .lines = {{.x = {1}, .y = {1}}}};
  EXPECT_FALSE(logs.terminal().empty());
}

TEST(Chart, SeriesThatAreNotWholeAreRefused) {
  EXPECT_THROW(static_cast<void>(Chart{.lines = {{.x = {1, 2}, .y = {1}}}}.svg()), std::invalid_argument);
  EXPECT_THROW(static_cast<void>(Chart{.areas = {{.x = {1}, .y = {1}}, {.x = {2}, .y = {1}}}}.terminal()),
               std::invalid_argument);
}

TEST(Ticks, AreRoundInsideTheRangeAndDistinct) {
  for (const double high : {1e-7, 3e-4, 0.7, 1.0, 42.0, 9.9e5, 3e9})
    for (const auto unit : {Unit::number, Unit::bytes, Unit::seconds}) {
      const Range range{0.0, high, Scale::linear, false};
      const auto ticks = ticks_of(range, unit, 5);
      ASSERT_GE(ticks.size(), 2U) << high;
      ASSERT_LE(ticks.size(), 12U) << high;
      for (std::size_t i = 0; i < ticks.size(); ++i) {
        EXPECT_LE(ticks[i].value, high * (1 + 1e-9));
        if (i > 0) {
          EXPECT_NE(ticks[i].label, ticks[i - 1].label) << high;
        }
      }
    }
  EXPECT_EQ(text_of(1e-5, Unit::number), "1e-5");
  EXPECT_EQ(text_of(20000, Unit::number), "20k");
  EXPECT_EQ(text_of(1.5 * 1024 * 1024 * 1024, Unit::bytes), "1.5 GiB");
  EXPECT_EQ(text_of(0.012, Unit::seconds), "12 ms");
}

}  // namespace
}  // namespace athanor::plot
