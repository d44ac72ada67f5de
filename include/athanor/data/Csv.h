#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace athanor::data {

/// Reads a CSV file record by record: quoted fields, doubled quotes, line breaks inside quotes, LF or CRLF; a
/// byte-order mark and empty lines are passed over. Source: RFC 4180.
class CsvReader {
 public:
  /// Throws athanor::Error if the file cannot be read or is larger than 2 GiB.
  explicit CsvReader(const std::filesystem::path& path, char separator = ',');

  /// The next record's fields; false at the end. Throws athanor::Error naming the line for a quote that never ends or
  /// text after a closing quote.
  bool next(std::vector<std::string>& fields);

  /// The line, counted from 1, on which the last record began.
  [[nodiscard]] std::int64_t line() const { return line_; }
  /// "FILE:LINE: " of the last record, to begin an error message with.
  [[nodiscard]] std::string where() const;

 private:
  std::string read_quoted();

  std::string name_;
  std::string content_;
  char separator_;
  std::size_t at_ = 0;
  std::int64_t line_ = 0;
  std::int64_t next_line_ = 1;
};

}  // namespace athanor::data
