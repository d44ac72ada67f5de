#include "athanor/report/Inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <system_error>

#include "athanor/core/Error.h"
#include "athanor/core/MappedFile.h"
#include "athanor/core/Sha256.h"
#include "athanor/core/Terminal.h"
#include "report/BoundedJson.h"
#include "report/TensorValues.h"

namespace athanor::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kManifest = "MANIFEST.json";
constexpr std::size_t kSmallFile = 64 << 20;

bool is_safetensors(const fs::path& path) {
  return path.extension() == ".safetensors";
}

void count_values(InspectedFile& file, std::uint64_t data_offset) {
  const core::MappedFile mapping(file.path);
  for (const auto& tensor : file.tensors) {
    file.elements += tensor.elements();
    if (!is_floating(tensor.dtype)) continue;
    const ValueReader read = reader_of(tensor.dtype);
    const std::byte* bytes = mapping.bytes().data() + data_offset + tensor.begin;
    for (std::size_t i = 0; i < static_cast<std::size_t>(tensor.elements()); ++i)
      if (!std::isfinite(read(bytes, i))) ++file.not_finite;
  }
}

void read_tensors(InspectedFile& file) {
  try {
    auto header = core::read_safetensors_header(file.path);
    file.tensors = std::move(header.entries);
    file.metadata = std::move(header.metadata);
    if (!file.tensors.empty()) count_values(file, header.data_offset);
  } catch (const Error& error) {
    file.problem = error.what();
    file.tensors.clear();
  }
}

InspectedFile look_at(const fs::path& path) {
  std::error_code error;
  InspectedFile file;
  file.name = core::printable(path.filename().string());
  file.path = path;
  const auto size = fs::file_size(path, error);
  if (error) {
    file.problem = "is missing";
    return file;
  }
  file.size = {static_cast<std::int64_t>(size)};
  if (is_safetensors(path)) read_tensors(file);
  return file;
}

// A name out of a manifest may only be that of a file beside it.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

void check_against(const json& entry, InspectedFile& file) {
  if (!file.problem.empty()) return;
  if (!entry.is_object() || !entry.contains("size") || !entry.contains("sha256") ||
      !entry["size"].is_number_integer() || !entry["sha256"].is_string()) {
    file.problem = "has no size and SHA-256 in the manifest";
  } else if (entry["size"].get<std::int64_t>() != file.size.count) {
    file.problem = fmt::format("has {} bytes, but {} were written", file.size.count, entry["size"].get<std::int64_t>());
  } else if (core::sha256_of_file(file.path) != entry["sha256"].get<std::string>()) {
    file.problem = "was changed after it was written: its SHA-256 is another";
  }
}

Inspection inspect_checkpoint(const fs::path& folder) {
  Inspection result;
  result.kind = Inspection::Kind::checkpoint;
  result.path = folder;
  const json manifest = read_json(folder / kManifest, kSmallFile);
  if (!manifest.is_object() || !manifest.contains("files") || !manifest["files"].is_object()) {
    result.problems.push_back(std::string(kManifest) + " is missing or no manifest: the checkpoint was not finished");
    for (const char* name : {"model.safetensors", "optimizer.safetensors"})
      if (fs::exists(folder / name)) result.files.push_back(look_at(folder / name));
    return result;
  }
  if (manifest.contains("step") && manifest["step"].is_number_integer())
    result.step = manifest["step"].get<std::int64_t>();
  if (manifest.contains("metric") && manifest["metric"].is_number()) result.metric = manifest["metric"].get<double>();
  for (const auto& [name, entry] : manifest["files"].items()) {
    if (!is_plain_name(name)) {
      result.problems.push_back("the manifest names '" + core::printable(name) + "', which is no file of this folder");
      continue;
    }
    InspectedFile file = look_at(folder / name);
    check_against(entry, file);
    if (!file.problem.empty()) result.problems.push_back(file.name + " " + file.problem);
    if (name == "state.json") result.state = read_json(file.path, kSmallFile);
    result.files.push_back(std::move(file));
  }
  return result;
}

Inspection inspect_run(const fs::path& folder) {
  Inspection result;
  result.kind = Inspection::Kind::run;
  result.path = folder;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder / "checkpoints", error))
    if (entry.is_directory() && entry.path().filename().string().starts_with("step-"))
      result.checkpoints.push_back(inspect_checkpoint(entry.path()));
  std::sort(result.checkpoints.begin(), result.checkpoints.end(),
            [](const auto& a, const auto& b) { return a.path.filename() > b.path.filename(); });
  if (const fs::path best = folder / "best.safetensors"; fs::exists(best, error)) {
    result.files.push_back(look_at(best));
    if (!result.files.back().problem.empty()) result.problems.push_back(result.files.back().problem);
  }
  return result;
}

}  // namespace

Bytes Inspection::bytes() const {
  Bytes sum;
  for (const auto& file : files) sum += file.size;
  for (const auto& checkpoint : checkpoints) sum += checkpoint.bytes();
  return sum;
}

Inspection inspect(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) throw Error(path.string() + ": is not there");
  if (!fs::is_directory(path, error)) {
    Inspection result;
    result.path = path;
    result.files.push_back(look_at(path));
    InspectedFile& file = result.files.back();
    if (!is_safetensors(path)) read_tensors(file);
    if (!file.problem.empty()) result.problems.push_back(file.problem);
    return result;
  }
  if (fs::exists(path / kManifest, error) || fs::exists(path / "model.safetensors", error))
    return inspect_checkpoint(path);
  for (const char* name : {"checkpoints", "run.json", "config.toml", "metrics.csv"})
    if (fs::exists(path / name, error)) return inspect_run(path);
  throw Error(path.string() + ": is no checkpoint (no MANIFEST.json) and no run directory (no checkpoints/, run.json)");
}

}  // namespace athanor::report
