#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace athanor::train {

/// The folder of a run: config.toml, run.json, metrics.csv, event files, checkpoints. Held by one process at a time.
class RunFolder {
 public:
  /// Begins a run in a folder that holds none; writes config.toml. Throws std::invalid_argument if a run is there
  /// already (how to go on with it or begin another), athanor::Error (disk, or another process holds it).
  static RunFolder begin(const std::filesystem::path& path, const std::string& resolved_config);
  /// Goes on with a run. Throws std::invalid_argument if none is there, or if it belongs to another configuration: the
  /// keys that differ are named. What does not change the steps already done may differ (see `may_change`).
  static RunFolder reopen(const std::filesystem::path& path, const std::string& resolved_config);
  ~RunFolder();
  RunFolder(RunFolder&& other) noexcept;
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  RunFolder& operator=(RunFolder&&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Replaces run.json, atomically.
  void write_status(const nlohmann::json& status) const;

 private:
  explicit RunFolder(std::filesystem::path path);
  std::filesystem::path path_;
  int lock_ = -1;
};

/// The keys whose values differ between two resolved configurations, as "train.clip_norm: 1.0 there, 0.5 here"; those
/// that may change between the parts of a run (limits, early stopping, checkpoints, logs, name) left out.
std::vector<std::string> differences(const std::string& there, const std::string& here);

}  // namespace athanor::train
