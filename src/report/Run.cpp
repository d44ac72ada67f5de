#include "athanor/report/Run.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Error.h"
#include "athanor/core/Terminal.h"
#include "report/BoundedJson.h"
#include "report/ConfigFile.h"
#include "report/MetricsFile.h"

namespace athanor::report {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kSmallFile = 16 << 20;

const nlohmann::json* at(const nlohmann::json& json, std::string_view dotted) {
  const nlohmann::json* here = &json;
  while (!dotted.empty()) {
    const auto dot = dotted.find('.');
    const std::string key(dotted.substr(0, dot));
    if (!here->is_object() || !here->contains(key)) return nullptr;
    here = &here->at(key);
    dotted.remove_prefix(dot == std::string_view::npos ? dotted.size() : dot + 1);
  }
  return here;
}

// "step-00001234" -> 1234
std::optional<std::int64_t> step_of(const std::string& folder) {
  constexpr std::string_view prefix = "step-";
  std::int64_t step = 0;
  if (!folder.starts_with(prefix)) return std::nullopt;
  const auto [end, error] = std::from_chars(folder.data() + prefix.size(), folder.data() + folder.size(), step);
  if (error != std::errc() || end != folder.data() + folder.size()) return std::nullopt;
  return step;
}

void read_checkpoints(const fs::path& folder, Run& run) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (const auto step = step_of(entry.path().filename().string()))
      if (fs::exists(entry.path() / "MANIFEST.json", error)) run.checkpoints.push_back(*step);
  std::sort(run.checkpoints.begin(), run.checkpoints.end());
}

void read_about(const fs::path& path, Run& run) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    run.problems.emplace_back("run.json: is not there yet");
    return;
  }
  run.about = read_json(path, kSmallFile);
  if (!run.about.is_object()) {
    run.problems.emplace_back("run.json: cannot be read, or is not a JSON object of reasonable depth");
    run.about = nullptr;
  }
}

void read_config(const fs::path& path, Run& run) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    run.problems.emplace_back("config.toml: is not there");
    return;
  }
  try {
    run.settings = read_settings(core::read_file(path, kSmallFile));
  } catch (const Error& failure) {
    run.problems.emplace_back(failure.what());
  }
}

}  // namespace

const Series* Run::find(const std::string& split, const std::string& series_name) const {
  for (const auto& one : series)
    if (one.split == split && one.name == series_name) return &one;
  return nullptr;
}

std::string Run::status() const {
  return text("status").value_or("");
}

std::int64_t Run::last_step() const {
  std::int64_t last = 0;
  for (const auto& one : series)
    if (one.points.size() > 0) last = std::max(last, one.points.steps.back());
  return last;
}

std::optional<double> Run::number(const std::string& dotted) const {
  const auto* value = at(about, dotted);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->get<double>();
}

std::optional<std::string> Run::text(const std::string& dotted) const {
  const auto* value = at(about, dotted);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return core::printable(value->get<std::string>());
}

Run read_run(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) throw Error(folder.string() + ": is no folder; give a run directory");
  bool found = false;
  for (const char* name : {"config.toml", "run.json", "metrics.csv"}) found = found || fs::exists(folder / name, error);
  if (!found) throw Error(folder.string() + ": is no run directory: it holds no config.toml, run.json or metrics.csv");
  Run run;
  run.folder = folder;
  read_config(folder / "config.toml", run);
  read_about(folder / "run.json", run);
  read_metrics(folder / "metrics.csv", run);
  read_checkpoints(folder / "checkpoints", run);
  const fs::path whole = fs::absolute(folder, error).lexically_normal();
  const std::string last = whole.has_filename() ? whole.filename().string() : whole.parent_path().filename().string();
  run.name = run.text("name").value_or(core::printable(last));
  return run;
}

}  // namespace athanor::report
