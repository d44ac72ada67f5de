#include "athanor/core/Terminal.h"

#include <gtest/gtest.h>

#include <limits>
#include <sstream>

#include "athanor/core/TextTable.h"

namespace athanor::core {
namespace {

constexpr Terminal kPlain{};
constexpr Terminal kRich{.interactive = true, .colour = true, .unicode = true};

TEST(Terminal, AStreamThatIsNoTerminalGetsNoColour) {
  const std::ostringstream stream;
  const Terminal terminal = Terminal::of(stream);
  EXPECT_FALSE(terminal.interactive);
  EXPECT_FALSE(terminal.colour);
  EXPECT_EQ(paint("text", Ink::bad, terminal), "text");
}

TEST(Terminal, PaintChangesNoWidth) {
  for (const Ink ink : {Ink::strong, Ink::quiet, Ink::accent, Ink::good, Ink::warning, Ink::bad}) {
    EXPECT_EQ(display_width(paint("µs 12", ink, kRich)), 5);
    EXPECT_NE(paint("x", ink, kRich), "x");
  }
}

TEST(Terminal, WidthCountsCells) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("é…"), 2);
  EXPECT_EQ(display_width("日本"), 4);
  EXPECT_EQ(display_width("e\xCC\x81"), 1);  // a combining accent
  EXPECT_EQ(display_width("\xFF\xFE"), 2);   // broken bytes are shown as one cell each
  EXPECT_EQ(display_width("\xE6\x97"), 2);   // cut in the middle of a character
}

TEST(Terminal, ABarIsAsWideAsAsked) {
  for (const Terminal& terminal : {kPlain, kRich})
    for (const double fraction : {-1.0, 0.0, 0.03, 0.5, 0.999, 1.0, 7.0, std::numeric_limits<double>::quiet_NaN()})
      EXPECT_EQ(display_width(bar(fraction, 12, terminal)), 12) << fraction;
  EXPECT_EQ(bar(0.5, 4, kPlain), "##..");
  EXPECT_EQ(bar(1.0, 2, kRich), "██");
  EXPECT_EQ(bar(0.0, 2, kRich), "░░");
}

TEST(Terminal, ClippedTextFitsAndSaysSo) {
  EXPECT_EQ(clipped("python train.py", 20, kRich), "python train.py");
  EXPECT_EQ(clipped("python train.py", 7, kRich), "python…");
  EXPECT_EQ(clipped("python train.py", 7, kPlain), "python~");
  EXPECT_EQ(display_width(clipped("日本語日本語", 6, kRich)), 5);
  EXPECT_EQ(clipped("abc", 0, kRich), "");
}

TEST(Terminal, NothingFromOutsideReachesTheTerminalRaw) {
  EXPECT_EQ(printable("a\033[2Jb\n"), "a?[2Jb?");
  EXPECT_EQ(printable("ok é"), "ok é");
  EXPECT_EQ(printable("\xC2\x9B"), "?");  // the one-character CSI
  EXPECT_EQ(printable("\xFFx"), "?x");
}

TEST(TextTable, ColumnsAlign) {
  TextTable table({{"GPU"}, {"memory", TextTable::Align::right}, {"fits"}});
  table.add({"RTX 4090", "23.6 GiB", "yes"});
  table.add({"T4", "", "no"});
  table.add_gap();
  table.add({"A100", "79.1 GiB"});
  EXPECT_EQ(table.text(kPlain),
            "GPU         memory  fits\n"
            "RTX 4090  23.6 GiB  yes\n"
            "T4                  no\n"
            "\n"
            "A100      79.1 GiB\n");
}

TEST(TextTable, PaintedCellsAlignToo) {
  TextTable table({{""}, {"", TextTable::Align::right}});
  table.add({paint("ab", Ink::good, kRich), "1"});
  table.add({"a", paint("22", Ink::bad, kRich)});
  const std::string text = table.text(kRich);
  const auto newline = text.find('\n');
  EXPECT_EQ(display_width(text.substr(0, newline)), 6);
  EXPECT_EQ(display_width(text.substr(newline + 1, text.size() - newline - 2)), 6);
  EXPECT_THROW(table.add({"1", "2", "3"}), std::invalid_argument);
}

}  // namespace
}  // namespace athanor::core
