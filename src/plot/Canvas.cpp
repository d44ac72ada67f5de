#include "plot/Canvas.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace athanor::plot {
namespace {

bool begins_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
}

// U+2800 plus the dots, in UTF-8.
std::string braille(unsigned dots) {
  const unsigned code = 0x2800U + dots;
  return {static_cast<char>(0xE0U | (code >> 12U)), static_cast<char>(0x80U | ((code >> 6U) & 0x3FU)),
          static_cast<char>(0x80U | (code & 0x3FU))};
}

// The standard colours that are legible on light and on dark ground.
constexpr std::array<int, 8> kAnsi{34, 33, 32, 35, 31, 36, 94, 90};

}  // namespace

Canvas::Cell* Canvas::cell(int column, int row) {
  if (column < 0 || column >= columns_ || row < 0 || row >= rows_) return nullptr;
  return &cells_[static_cast<std::size_t>(row * columns_ + column)];
}

void Canvas::put(int column, int row, const std::string& glyph, int colour) {
  if (Cell* at = cell(column, row)) *at = {glyph, 0, colour};
}

void Canvas::text(int column, int row, const std::string& words, int colour) {
  for (std::size_t i = 0; i < words.size();) {
    std::size_t end = i + 1;
    while (end < words.size() && !begins_character(words[end])) ++end;
    put(column++, row, words.substr(i, end - i), colour);
    i = end;
  }
}

void Canvas::dot(int x, int y, int colour) {
  // Bit of each dot of a cell, by column and row (Unicode chapter on braille patterns).
  constexpr std::array<std::array<unsigned, 4>, 2> kBits{{{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}};
  if (x < 0 || y < 0) return;
  Cell* at = cell(x / 2, y / 4);
  if (!at) return;
  if (!at->glyph.empty()) *at = {};
  at->dots |= kBits[static_cast<std::size_t>(x % 2)][static_cast<std::size_t>(y % 4)];
  at->colour = colour;
}

std::string Canvas::print(bool colour) const {
  std::string out;
  for (int row = 0; row < rows_; ++row) {
    std::string line;
    int current = -1;
    int blanks = 0;  // held back, so that no line ends in spaces
    for (int column = 0; column < columns_; ++column) {
      const Cell& at = cells_[static_cast<std::size_t>(row * columns_ + column)];
      const std::string glyph = at.dots ? braille(at.dots) : at.glyph;
      if (glyph.empty() || glyph == " ") {
        ++blanks;
        continue;
      }
      line.append(static_cast<std::size_t>(blanks), ' ');
      blanks = 0;
      if (colour && at.colour != current) {
        line += at.colour < 0 ? "\033[0m" : fmt::format("\033[{}m", kAnsi[static_cast<std::size_t>(at.colour) % 8]);
        current = at.colour;
      }
      line += glyph;
    }
    if (current >= 0) line += "\033[0m";
    out += line + '\n';
  }
  return out;
}

int width_of(const std::string& text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), begins_character));
}

std::string cut(const std::string& text, int width, bool unicode) {
  if (width_of(text) <= width) return text;
  if (width <= 0) return "";
  std::size_t end = 0;
  for (int left = width - 1; end < text.size(); ++end)
    if (begins_character(text[end]) && left-- == 0) break;
  return text.substr(0, end) + (unicode ? "…" : ".");
}

}  // namespace athanor::plot
