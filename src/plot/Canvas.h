#pragma once
#include <string>
#include <vector>

namespace athanor::plot {

/// A grid of character cells that is drawn on and then printed. With dots a cell is 2 x 4 braille dots.
/// Coordinates go right and down from the upper left; what lies outside is not drawn.
class Canvas {
 public:
  Canvas(int columns, int rows) : columns_(columns), rows_(rows), cells_(static_cast<std::size_t>(columns * rows)) {}

  [[nodiscard]] int columns() const { return columns_; }
  [[nodiscard]] int rows() const { return rows_; }

  /// Replaces a cell by a glyph (one character wide) in a colour; -1 is the terminal's own.
  void put(int column, int row, const std::string& glyph, int colour = -1);
  /// Text from a cell on.
  void text(int column, int row, const std::string& words, int colour = -1);
  /// Sets one dot; x in [0, 2 columns), y in [0, 4 rows).
  void dot(int x, int y, int colour);

  /// The rows, each ended by '\n', without spaces at their ends; with ANSI colours if asked.
  [[nodiscard]] std::string print(bool colour) const;

 private:
  struct Cell {
    std::string glyph = {};
    unsigned dots = 0;
    int colour = -1;
  };
  Cell* cell(int column, int row);

  int columns_;
  int rows_;
  std::vector<Cell> cells_;
};

/// How many characters wide UTF-8 text is, each code point counted as one.
int width_of(const std::string& text);

/// The first `width` characters; an ellipsis ("…", or "." in ASCII) where something was cut.
std::string cut(const std::string& text, int width, bool unicode);

}  // namespace athanor::plot
