#pragma once
#include <string>
#include <vector>

#include "athanor/core/Terminal.h"

namespace athanor::core {

/// A table for people: columns that align, two spaces between them, a quiet head, no frame.
///     GPU          memory   fits
///     RTX 4090    23.6 GiB  yes
/// Cells may be painted; a row may have fewer cells than there are columns.
class TextTable {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
  };

  explicit TextTable(std::vector<Column> columns);

  void add(std::vector<std::string> cells);
  /// An empty line between groups.
  void add_gap();

  /// Every line ends in a newline and has no trailing spaces. `indent` spaces come before each.
  [[nodiscard]] std::string text(const Terminal& terminal, int indent = 0) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace athanor::core
