#include "report/MetricsFile.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "athanor/core/Terminal.h"

namespace athanor::report {
namespace {

constexpr std::size_t kChunk = 1 << 20;
constexpr std::size_t kLongestRow = 4096;
constexpr std::size_t kMostSeries = 512;
constexpr std::string_view kHeader = "step,epoch,split,name,value";

struct Row {
  std::int64_t step = 0, epoch = 0;
  std::string_view label;  // "split,name"
  double value = 0;
};

template <class Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

std::optional<Row> parse_row(std::string_view line) {
  const auto first = line.find(',');
  const auto second = first == std::string_view::npos ? first : line.find(',', first + 1);
  const auto last = line.rfind(',');
  if (second == std::string_view::npos || last <= second) return std::nullopt;
  Row row;
  row.label = line.substr(second + 1, last - second - 1);
  const auto comma = row.label.find(',');
  if (comma == std::string_view::npos || comma == 0 || comma + 1 == row.label.size()) return std::nullopt;
  if (!parse(line.substr(0, first), row.step) || !parse(line.substr(first + 1, second - first - 1), row.epoch) ||
      !parse(line.substr(last + 1), row.value))
    return std::nullopt;
  return row;
}

class Reader {
 public:
  explicit Reader(Run& run) : run_(run) {}

  void line(std::string_view text) {
    ++number_;
    if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    if (text.empty() || (number_ == 1 && text == kHeader)) return;
    if (const auto row = parse_row(text))
      add(*row);
    else if (bad_++ == 0)
      first_bad_ = number_;
  }

  void finish(const std::filesystem::path& path, std::size_t torn) {
    const auto note = [&](std::string words) { run_.problems.push_back(path.filename().string() + ": " + words); };
    if (number_ == 0 && torn == 0) note("is empty so far");
    if (torn > 0) note("the last row is not finished and left out");
    if (bad_ > 0)
      note(fmt::format("{} rows are not step,epoch,split,name,value; the first is line {}", bad_, first_bad_));
    if (surplus_) note(fmt::format("more than {} different metrics; the later ones are left out", kMostSeries));
  }

 private:
  void add(const Row& row) {
    Points* points = find(row.label);
    if (points == nullptr) return;
    const bool resumed = !points->steps.empty() && points->steps.back() > row.step;
    while (resumed && !points->steps.empty() && points->steps.back() >= row.step) {
      points->steps.pop_back();
      points->values.pop_back();
    }
    points->steps.push_back(row.step);
    points->values.push_back(row.value);
    auto& epochs = run_.epochs;
    while (!epochs.empty() && epochs.back().first > row.step) epochs.pop_back();
    if (epochs.empty() || epochs.back().second != row.epoch) epochs.emplace_back(row.step, row.epoch);
  }

  Points* find(std::string_view label) {
    if (label == last_label_) return &run_.series[last_].points;
    auto at = known_.find(std::string(label));
    if (at == known_.end()) {
      if (run_.series.size() >= kMostSeries) {
        surplus_ = true;
        return nullptr;
      }
      const auto comma = label.find(',');
      at = known_.emplace(std::string(label), run_.series.size()).first;
      run_.series.push_back({core::printable(label.substr(0, comma)), core::printable(label.substr(comma + 1)), {}});
    }
    last_label_ = at->first;
    last_ = at->second;
    return &run_.series[last_].points;
  }

  Run& run_;
  std::unordered_map<std::string, std::size_t> known_;
  std::string last_label_;
  std::size_t last_ = 0, number_ = 0, bad_ = 0, first_bad_ = 0;
  bool surplus_ = false;
};

}  // namespace

void read_metrics(const std::filesystem::path& path, Run& run) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    run.problems.push_back(path.filename().string() + ": is not there yet, or cannot be read");
    return;
  }
  Reader reader(run);
  std::string text;  // what is read but not yet a whole row
  std::string chunk(kChunk, '\0');
  while (file.read(chunk.data(), kChunk) || file.gcount() > 0) {
    text.append(chunk, 0, static_cast<std::size_t>(file.gcount()));
    std::size_t begin = 0;
    for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
      reader.line(std::string_view(text).substr(begin, end - begin));
      begin = end + 1;
    }
    text.erase(0, begin);
    if (text.size() > kLongestRow && text.size() >= kChunk) {
      run.problems.push_back(path.filename().string() + ": holds no rows of text; is it a metrics.csv?");
      return;
    }
  }
  reader.finish(path, text.size());
}

}  // namespace athanor::report
