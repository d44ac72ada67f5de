#include "athanor/data/Csv.h"

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Error.h"

namespace athanor::data {

CsvReader::CsvReader(const std::filesystem::path& path, char separator)
    : name_(path.string()), content_(core::read_file(path)), separator_(separator) {
  if (content_.starts_with("\xEF\xBB\xBF")) at_ = 3;
}

std::string CsvReader::where() const {
  return name_ + ":" + std::to_string(line_) + ": ";
}

// at_ stands behind the opening quote, and after the call behind the closing one.
std::string CsvReader::read_quoted() {
  std::string field;
  for (; at_ < content_.size(); ++at_) {
    const char c = content_[at_];
    if (c == '\n') ++next_line_;
    if (c != '"') {
      field += c;
    } else if (at_ + 1 < content_.size() && content_[at_ + 1] == '"') {
      field += '"';
      ++at_;
    } else {
      ++at_;
      return field;
    }
  }
  throw Error(where() + "a quote is opened and never closed");
}

bool CsvReader::next(std::vector<std::string>& fields) {
  const auto skip_break = [&] {
    if (at_ < content_.size() && content_[at_] == '\r') ++at_;
    if (at_ < content_.size() && content_[at_] == '\n') ++at_;
    ++next_line_;
  };
  const auto at_break = [&] {
    return content_[at_] == '\n' || (content_[at_] == '\r' && at_ + 1 < content_.size() && content_[at_ + 1] == '\n');
  };
  while (at_ < content_.size() && at_break()) skip_break();
  fields.clear();
  if (at_ >= content_.size()) return false;
  line_ = next_line_;
  for (;;) {
    if (at_ < content_.size() && content_[at_] == '"') {
      ++at_;
      fields.push_back(read_quoted());
      if (at_ < content_.size() && content_[at_] != separator_ && !at_break())
        throw Error(where() + "text follows a closing quote");
    } else {
      const auto begin = at_;
      while (at_ < content_.size() && content_[at_] != separator_ && !at_break()) ++at_;
      fields.push_back(content_.substr(begin, at_ - begin));
    }
    if (at_ < content_.size() && content_[at_] == separator_) {
      ++at_;
      continue;
    }
    if (at_ < content_.size()) skip_break();
    return true;
  }
}

}  // namespace athanor::data
