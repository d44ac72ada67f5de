#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

#include "athanor/core/Error.h"
#include "athanor/core/Nearest.h"
#include "athanor/data/Csv.h"
#include "data/Sources.h"

namespace athanor::data {
namespace {

struct Columns {
  std::vector<std::string> names;
  std::vector<std::size_t> features;
  std::size_t target = 0;
};

struct Rows {
  std::vector<float> features;      // row-major
  std::vector<double> numbers;      // the target as numbers (regression)
  std::vector<std::string> labels;  // the target as text (classification)
  std::size_t count = 0;
};

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::optional<double> parse_number(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data() + (text.starts_with('+') ? 1 : 0), end, value);
  if (error != std::errc() || at != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

bool is_missing(const std::string& text) {
  std::string lower = text;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower.empty() || lower == "na" || lower == "n/a" || lower == "nan" || lower == "null" || lower == "none" ||
         lower == "?";
}

std::size_t column(const core::Config& table, const std::string& key, const std::string& name,
                   const std::vector<std::string>& names) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end())
    table.reject(
        key, fmt::format("names the column '{}', which the file does not have{}", name, core::suggestion(name, names)));
  return static_cast<std::size_t>(found - names.begin());
}

Columns columns_from(const core::Config& table, std::vector<std::string> names) {
  Columns columns;
  columns.names = std::move(names);
  const auto target = table.text("target", "");
  columns.target = target.empty() ? columns.names.size() - 1 : column(table, "target", target, columns.names);
  for (const auto& name : table.texts("features", {})) {
    const auto index = column(table, "features", name, columns.names);
    if (index == columns.target) table.reject("features", "holds the target '" + name + "' itself");
    columns.features.push_back(index);
  }
  if (columns.features.empty())
    for (std::size_t i = 0; i < columns.names.size(); ++i)
      if (i != columns.target) columns.features.push_back(i);
  if (columns.features.empty()) table.reject("features", "is empty: the file has one column only");
  return columns;
}

double number_at(const CsvReader& reader, const Columns& columns, const std::vector<std::string>& fields,
                 std::size_t index) {
  const auto text = trimmed(fields[index]);
  if (is_missing(text))
    throw Error(reader.where() + "'" + columns.names[index] + "' is missing: fill it in or remove the line");
  const auto value = parse_number(text);
  if (!value)
    throw Error(reader.where() + "'" + columns.names[index] + "' is not a finite number: '" + text.substr(0, 40) + "'");
  return *value;
}

Rows read_rows(CsvReader& reader, const Columns& columns, bool classification) {
  Rows rows;
  std::vector<std::string> fields;
  while (reader.next(fields)) {
    if (fields.size() != columns.names.size())
      throw Error(
          fmt::format("{}{} fields, but the header has {}", reader.where(), fields.size(), columns.names.size()));
    for (const auto index : columns.features)
      rows.features.push_back(static_cast<float>(number_at(reader, columns, fields, index)));
    if (classification) {
      auto label = trimmed(fields[columns.target]);
      if (is_missing(label))
        throw Error(reader.where() + "'" + columns.names[columns.target] +
                    "' is missing: fill it in or remove the line");
      rows.labels.push_back(std::move(label));
    } else {
      rows.numbers.push_back(number_at(reader, columns, fields, columns.target));
    }
    ++rows.count;
  }
  return rows;
}

// Classes in the order of their numbers if all are numbers, else of their names.
std::vector<std::string> classes_of(const std::vector<std::string>& labels) {
  auto names = labels;
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (std::ranges::all_of(names, [](const auto& name) { return parse_number(name).has_value(); }))
    std::ranges::stable_sort(names, {}, [](const auto& name) { return *parse_number(name); });
  return names;
}

// (x − mean) / deviation of the training rows; a column that never changes is only centred.
void standardise(std::vector<float>& values, std::size_t width, std::span<const std::int64_t> training) {
  for (std::size_t column = 0; column < width; ++column) {
    const auto at = [&](std::int64_t row) -> float& { return values[static_cast<std::size_t>(row) * width + column]; };
    double mean = 0;
    for (const auto row : training) mean += static_cast<double>(at(row));
    mean /= static_cast<double>(training.size());
    double variance = 0;
    for (const auto row : training)
      variance += (static_cast<double>(at(row)) - mean) * (static_cast<double>(at(row)) - mean);
    const auto deviation = std::sqrt(variance / static_cast<double>(training.size()));
    const auto scale = deviation > 1e-12 * std::abs(mean) ? deviation : 1.0;
    for (std::size_t row = 0; row < values.size() / width; ++row)
      values[row * width + column] =
          static_cast<float>((static_cast<double>(values[row * width + column]) - mean) / scale);
  }
}

template <class Value>
at::Tensor tensor_of(const std::vector<Value>& values, std::vector<std::int64_t> shape, at::ScalarType type) {
  auto tensor = at::empty(shape, type);
  std::ranges::copy(values, static_cast<Value*>(tensor.mutable_data_ptr()));
  return tensor;
}

at::Tensor targets_of(const Rows& rows, bool classification, Splits& splits) {
  const auto count = static_cast<std::int64_t>(rows.count);
  if (!classification) {
    const std::vector<float> values(rows.numbers.begin(), rows.numbers.end());
    return tensor_of(values, {count, 1}, at::kFloat);
  }
  splits.class_names = classes_of(rows.labels);
  splits.classes = static_cast<std::int64_t>(splits.class_names.size());
  std::map<std::string, std::int64_t> number;
  for (std::size_t i = 0; i < splits.class_names.size(); ++i)
    number[splits.class_names[i]] = static_cast<std::int64_t>(i);
  std::vector<std::int64_t> classes;
  for (const auto& label : rows.labels) classes.push_back(number.at(label));
  return tensor_of(classes, {count}, at::kLong);
}

}  // namespace

Splits open_csv(const core::Config& table, std::uint64_t seed) {
  static const std::array<std::string, 2> tasks{"classification", "regression"};
  const auto path = table.text("path", "");
  if (path.empty()) table.reject("path", "must name the CSV file");
  const auto separator = table.text("separator", ",");
  if (separator.size() != 1 || separator == "\"" || separator == "\n")
    table.reject("separator", "must be one character, got '" + separator + "'");
  const bool classification = table.choice("task", "classification", tasks) == "classification";
  const auto validation = fraction_from(table, "validation_fraction", 0.1);
  const auto test = fraction_from(table, "test_fraction", 0.1);
  if (validation + test >= 1) table.reject("test_fraction", "leaves nothing to train on");

  CsvReader reader(path, separator[0]);
  std::vector<std::string> names;
  if (!reader.next(names)) throw Error("cannot use " + path + ": it is empty; its first line must name the columns");
  std::ranges::transform(names, names.begin(), trimmed);
  const auto columns = columns_from(table, std::move(names));
  auto rows = read_rows(reader, columns, classification);

  // The test part is drawn first, so that it stays the same whatever the validation fraction is.
  const auto count = static_cast<std::int64_t>(rows.count);
  const auto outer = split(count, test, seed);
  const auto inner = split(static_cast<std::int64_t>(outer.train.size()), validation / (1 - test), seed);
  if (inner.train.empty()) throw Error("cannot use " + path + ": no row is left to train on");
  const auto pick = [&](const std::vector<std::int64_t>& indices) {
    std::vector<std::int64_t> rows_of_file;
    for (const auto index : indices) rows_of_file.push_back(outer.train[static_cast<std::size_t>(index)]);
    return rows_of_file;
  };
  const auto training = pick(inner.train);
  const auto width = columns.features.size();
  if (table.boolean("standardize", true)) standardise(rows.features, width, training);

  Splits splits;
  const auto inputs = tensor_of(rows.features, {count, static_cast<std::int64_t>(width)}, at::kFloat);
  const auto whole = std::make_shared<TensorDataset>(inputs, targets_of(rows, classification, splits));
  splits.train = std::make_shared<Subset>(whole, training);
  if (!inner.validation.empty()) splits.val = std::make_shared<Subset>(whole, pick(inner.validation));
  if (!outer.validation.empty()) splits.test = std::make_shared<Subset>(whole, outer.validation);
  splits.sample_shape = {static_cast<std::int64_t>(width)};
  splits.description =
      fmt::format("{}: {} rows of {} columns{} to train on, {} to validate, {} to test", path, training.size(), width,
                  classification ? fmt::format(" in {} classes", splits.classes) : "", inner.validation.size(),
                  outer.validation.size());
  return splits;
}

}  // namespace athanor::data
