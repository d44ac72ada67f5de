#include "athanor/train/RunFolder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Error.h"

namespace athanor::train {
namespace fs = std::filesystem;
namespace {

// Config::resolved writes one "key = value  # source" a line under "[table]" headers.
std::map<std::string, std::string> values_of(const std::string& resolved) {
  std::map<std::string, std::string> values;
  std::map<std::string, int> elements;
  std::string table;
  std::istringstream lines(resolved);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("[[")) {
      table = line.substr(2, line.find(']') - 2);
      table += "." + std::to_string(elements[table]++);
    } else if (line.starts_with("[")) {
      table = line.substr(1, line.find(']') - 1);
    } else if (const auto equals = line.find(" = "); equals != std::string::npos && line[0] != '#') {
      const auto source = line.rfind("  # ");
      const auto begin = equals + 3;
      values[table + "." + line.substr(0, equals)] =
          line.substr(begin, source == std::string::npos ? source : source - begin);
    }
  }
  return values;
}

// What does not change the steps that are done.
bool may_change(const std::string& key) {
  static constexpr std::array<std::string_view, 9> free{"run.name",
                                                        "run.device",
                                                        "train.max_epochs",
                                                        "train.max_steps",
                                                        "train.validate_every_steps",
                                                        "early_stopping.",
                                                        "checkpoint.",
                                                        "log.",
                                                        "data.prefetch"};
  return std::any_of(free.begin(), free.end(), [&](std::string_view prefix) { return key.starts_with(prefix); });
}

bool holds_a_run(const fs::path& path) {
  return fs::exists(path / "config.toml") || fs::exists(path / "checkpoints");
}

}  // namespace

std::vector<std::string> differences(const std::string& there, const std::string& here) {
  const auto old_values = values_of(there);
  const auto new_values = values_of(here);
  std::vector<std::string> found;
  for (const auto& [key, value] : new_values) {
    const auto old = old_values.find(key);
    if (may_change(key) || (old != old_values.end() && old->second == value)) continue;
    found.push_back(
        fmt::format("{}: {} there, {} here", key, old == old_values.end() ? "not set" : old->second, value));
  }
  for (const auto& [key, value] : old_values)
    if (!may_change(key) && !new_values.contains(key))
      found.push_back(fmt::format("{}: {} there, not set here", key, value));
  return found;
}

RunFolder::RunFolder(fs::path path) : path_(std::move(path)) {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error)
    throw Error(fmt::format("cannot create {}: {}; --out names another place", path_.string(), error.message()));
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0) throw Error(fmt::format("cannot open {}: {}", path_.string(), std::strerror(errno)));
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(std::exchange(lock_, -1));
    throw Error(fmt::format("{}: another process is training in it; --out names another place", path_.string()));
  }
}

RunFolder::~RunFolder() {
  if (lock_ >= 0) ::close(lock_);
}

RunFolder::RunFolder(RunFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

RunFolder RunFolder::begin(const fs::path& path, const std::string& resolved_config) {
  if (holds_a_run(path))
    throw std::invalid_argument(fmt::format(
        "{} holds a run already: --resume goes on with it, --out DIR (or run.name) begins another", path.string()));
  RunFolder folder(path);
  core::write_atomically(path / "config.toml", resolved_config);
  return folder;
}

RunFolder RunFolder::reopen(const fs::path& path, const std::string& resolved_config) {
  if (!holds_a_run(path))
    throw std::invalid_argument(fmt::format(
        "--resume: nothing to resume in {}: no run is there; leave --resume out to begin one", path.string()));
  if (fs::exists(path / "config.toml"))
    if (const auto changed = differences(core::read_file(path / "config.toml"), resolved_config); !changed.empty())
      throw std::invalid_argument(
          fmt::format("--resume: {} belongs to another configuration ({})", path.string(), fmt::join(changed, "; ")));
  RunFolder folder(path);
  core::write_atomically(path / "config.toml", resolved_config);
  return folder;
}

void RunFolder::write_status(const nlohmann::json& status) const {
  core::write_atomically(path_ / "run.json", status.dump(2) + "\n");
}

}  // namespace athanor::train
