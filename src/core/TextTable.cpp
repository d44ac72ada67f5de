#include "athanor/core/TextTable.h"

#include <algorithm>
#include <stdexcept>

namespace athanor::core {
namespace {

std::string spaces(int count) {
  return std::string(static_cast<std::size_t>(std::max(count, 0)), ' ');
}

}  // namespace

TextTable::TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

void TextTable::add(std::vector<std::string> cells) {
  if (cells.size() > columns_.size()) throw std::invalid_argument("TextTable::add: more cells than columns");
  rows_.push_back(std::move(cells));
}

void TextTable::add_gap() {
  rows_.emplace_back();
}

std::string TextTable::text(const Terminal& terminal, int indent) const {
  std::vector<int> widths;
  bool titled = false;
  for (const auto& column : columns_) {
    widths.push_back(display_width(column.title));
    titled = titled || !column.title.empty();
  }
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));

  std::string text;
  const auto line = [&](const std::vector<std::string>& cells, Ink ink) {
    int owed = indent;  // written before the next cell, so that no line ends in spaces
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const int room = widths[i] - display_width(cells[i]);
      const bool right = columns_[i].align == Align::right;
      if (!cells[i].empty()) {
        text += spaces(owed + (right ? room : 0)) + paint(cells[i], ink, terminal);
        owed = right ? 2 : room + 2;
      } else {
        owed += widths[i] + 2;
      }
    }
    text += '\n';
  };
  if (titled) {
    std::vector<std::string> titles;
    for (const auto& column : columns_) titles.push_back(column.title);
    line(titles, Ink::quiet);
  }
  for (const auto& row : rows_) line(row, Ink::plain);
  return text;
}

}  // namespace athanor::core
