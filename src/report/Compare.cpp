#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "athanor/core/Error.h"
#include "athanor/core/MappedFile.h"
#include "athanor/report/Inspect.h"
#include "report/TensorValues.h"

namespace athanor::report {
namespace {

using core::SafetensorsEntry;
using nlohmann::json;

constexpr std::size_t kMostStateLines = 50;

std::string shape_text(const SafetensorsEntry& tensor) {
  return tensor.shape.empty() ? "scalar" : fmt::format("{}", fmt::join(tensor.shape, "x"));
}

const Inspection& checkpoint_of(const Inspection& inspection) {
  if (inspection.kind != Inspection::Kind::run) return inspection;
  for (const auto& checkpoint : inspection.checkpoints)
    if (checkpoint.whole()) return checkpoint;
  throw Error(inspection.path.string() + ": holds no whole checkpoint to compare");
}

// An open file and where its data begins.
struct Source {
  explicit Source(const InspectedFile& file)
      : mapping(file.path), data(mapping.bytes().data() + core::read_safetensors_header(file.path).data_offset) {}

  core::MappedFile mapping;
  const std::byte* data;
};

void measure(const std::byte* a, const SafetensorsEntry& first, const std::byte* b, const SafetensorsEntry& second,
             TensorDifference& difference) {
  const ValueReader read_a = reader_of(first.dtype), read_b = reader_of(second.dtype);
  double apart = 0, size = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(difference.elements); ++i) {
    const double x = read_a(a, i), y = read_b(b, i);
    if (std::isfinite(x)) size += x * x;
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    ++difference.differing;
    const double gap = std::abs(x - y);
    difference.largest =
        std::max(difference.largest, std::isfinite(gap) ? gap : std::numeric_limits<double>::infinity());
    apart += gap * gap;
  }
  difference.relative = apart == 0                         ? 0
                        : std::isfinite(apart) && size > 0 ? std::sqrt(apart / size)
                                                           : std::numeric_limits<double>::infinity();
}

void compare_tensors(const Source& a, const SafetensorsEntry& first, const Source& b, const SafetensorsEntry& second,
                     TensorDifference difference, Comparison& comparison) {
  if (first.shape != second.shape) {
    difference.unlike = "shape " + shape_text(first) + " against " + shape_text(second);
  } else {
    difference.elements = first.elements();
    if (first.dtype != second.dtype) difference.dtypes = first.dtype + " against " + second.dtype;
    measure(a.data + first.begin, first, b.data + second.begin, second, difference);
    if (difference.differing == 0 && difference.dtypes.empty()) {
      ++comparison.equal_tensors;
      return;
    }
  }
  comparison.differences.push_back(std::move(difference));
}

void compare_files(const InspectedFile& first, const InspectedFile& second, Comparison& comparison) {
  if (first.tensors.empty() && second.tensors.empty()) return;
  const Source a(first), b(second);
  std::map<std::string, const SafetensorsEntry*> others;
  for (const auto& tensor : second.tensors) others[tensor.name] = &tensor;
  for (const auto& tensor : first.tensors) {
    TensorDifference difference{.file = first.name, .name = tensor.name};
    const auto other = others.find(tensor.name);
    if (other == others.end()) {
      difference.unlike = "only in the first";
      comparison.differences.push_back(std::move(difference));
      continue;
    }
    compare_tensors(a, tensor, b, *other->second, std::move(difference), comparison);
    others.erase(other);
  }
  for (const auto& tensor : second.tensors)
    if (others.contains(tensor.name))
      comparison.differences.push_back({.file = first.name, .name = tensor.name, .unlike = "only in the second"});
}

std::string short_text(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

void compare_state(const json& a, const json& b, const std::string& path, std::vector<std::string>& lines) {
  if (a == b || lines.size() >= kMostStateLines) return;
  if (!a.is_object() || !b.is_object()) {
    lines.push_back(fmt::format("{}: {} against {}", path.empty() ? "state" : path, short_text(a), short_text(b)));
    return;
  }
  std::set<std::string> keys;
  for (const auto& [key, value] : a.items()) keys.insert(key);
  for (const auto& [key, value] : b.items()) keys.insert(key);
  for (const auto& key : keys) {
    const std::string whole = path.empty() ? key : path + "." + key;
    if (!a.contains(key))
      lines.push_back(whole + ": only in the second");
    else if (!b.contains(key))
      lines.push_back(whole + ": only in the first");
    else
      compare_state(a.at(key), b.at(key), whole, lines);
  }
}

}  // namespace

Comparison compare(const Inspection& one, const Inspection& other) {
  const Inspection& first = checkpoint_of(one);
  const Inspection& second = checkpoint_of(other);
  for (const Inspection* side : {&first, &second})
    for (const auto& file : side->files)
      if (!file.problem.empty()) throw Error(file.path.string() + " cannot be compared: " + file.problem);
  Comparison comparison;
  const bool single = first.files.size() == 1 && second.files.size() == 1;
  bool any = false;
  for (const auto& file : first.files) {
    if (file.tensors.empty()) continue;
    // A file by itself is compared with the other's model, whatever their names are.
    const std::string wanted = first.kind == Inspection::Kind::safetensors ? "model.safetensors" : file.name;
    for (const auto& candidate : second.files) {
      if (!single && candidate.name != wanted &&
          !(second.kind == Inspection::Kind::safetensors && file.name == "model.safetensors"))
        continue;
      compare_files(file, candidate, comparison);
      any = true;
    }
  }
  if (!any)
    throw Error("nothing to compare: " + first.path.string() + " and " + second.path.string() +
                " have no safetensors file in common");
  if (first.kind == Inspection::Kind::checkpoint && second.kind == Inspection::Kind::checkpoint)
    compare_state(first.state, second.state, "", comparison.state);
  std::stable_sort(comparison.differences.begin(), comparison.differences.end(), [](const auto& a, const auto& b) {
    if (a.unlike.empty() != b.unlike.empty()) return !a.unlike.empty();
    return a.relative > b.relative;
  });
  return comparison;
}

}  // namespace athanor::report
