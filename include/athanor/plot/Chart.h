#pragma once
#include <optional>
#include <string>
#include <vector>

/// Line and area charts, as SVG for documents and as text for a terminal.
namespace athanor::plot {

enum class Scale { linear, log };
enum class Unit { number, bytes, seconds };  ///< How ticks are placed and written: 1k, 2 GiB, 3 ms.

struct Axis {
  std::string label = {};
  Scale scale = Scale::linear;
  Unit unit = Unit::number;
  std::optional<double> min = std::nullopt;  ///< Absent: from what is drawn.
  std::optional<double> max = std::nullopt;
};

/// Points in the order they are joined; x must not fall. A point that is not finite (or not positive on a log axis)
/// breaks the line. Long series are thinned to what a pixel shows: first, lowest, highest and last, so no peak is lost.
struct Series {
  std::string name = {};  ///< For the legend; empty: none.
  std::vector<double> x = {};
  std::vector<double> y = {};  ///< As many as x.
  bool stepped = false;        ///< Holds each value until the next, as a learning rate does.
  bool faint = false;          ///< Thin and pale: raw values behind a smoothed line; of areas, the topmost alone.
};

/// Only x: a vertical line. Only y: a horizontal line, such as a limit. Both: a dot.
struct Marker {
  std::optional<double> x = std::nullopt;
  std::optional<double> y = std::nullopt;
  std::string label = {};
};

struct Size {
  int width = 720;
  int height = 320;
};

struct TerminalOptions {
  int columns = 80;     ///< No line is longer; at least 24.
  int rows = 20;        ///< Lines in all, title and axes included; at least 8.
  bool unicode = true;  ///< Braille and blocks; otherwise plain ASCII.
  bool colour = false;  ///< ANSI colours; without, series differ by their mark.
};

/// A picture as a value: fill it in, then ask for svg() or terminal(). Both throw std::invalid_argument where a series
/// has not as many x as y, or areas do not share their x. A chart of nothing says so in the picture.
struct Chart {
  std::string title = {};
  std::string subtitle = {};
  Axis x = {};
  Axis y = {};
  std::vector<Series> lines = {};
  std::vector<Series> areas = {};  ///< Stacked, the first at the bottom; all over the same x.
  std::vector<Marker> markers = {};

  /// One <svg> element: stands alone as a file or inline in HTML, follows the reader's light or dark scheme, and holds
  /// no script, id or outside reference.
  [[nodiscard]] std::string svg(Size size = {}) const;

  /// Lines of text, each ended by '\n'.
  [[nodiscard]] std::string terminal(TerminalOptions options = {}) const;
};

}  // namespace athanor::plot
