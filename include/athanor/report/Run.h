#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "athanor/report/Thin.h"

namespace athanor::report {

struct Series {
  std::string split;  ///< "train", "val", "test", …
  std::string name;   ///< "loss", "lr", "memory_resident", …
  Points points;
};

struct Setting {
  std::string key;     ///< Dotted: "optimizer.lr"; of tables in an array "schedule.parts.0.kind".
  std::string value;   ///< As TOML writes it.
  std::string source;  ///< "default", "file", "--set", or "" where the file does not say.
};

/// A run directory, read as far as it is there: it may still be being written.
struct Run {
  std::string name;
  std::filesystem::path folder;
  nlohmann::json about;  ///< run.json; null where there is none.
  std::vector<Setting> settings;
  std::vector<Series> series;                                 ///< In the order they first appear.
  std::vector<std::pair<std::int64_t, std::int64_t>> epochs;  ///< First step that was logged, epoch.
  std::vector<std::int64_t> checkpoints;                      ///< Steps, rising.
  std::vector<std::string> problems;  ///< What is missing or could not be read, in words for people.

  [[nodiscard]] const Series* find(const std::string& split, const std::string& series_name) const;
  /// run.json's status: "running" while it is being written, "" where unknown.
  [[nodiscard]] std::string status() const;
  [[nodiscard]] std::int64_t last_step() const;
  /// A text or a number of run.json by dotted key; nullopt if it is not there or of another kind.
  [[nodiscard]] std::optional<double> number(const std::string& dotted) const;
  [[nodiscard]] std::optional<std::string> text(const std::string& dotted) const;
};

/// Reads RUN/{config.toml, run.json, metrics.csv, checkpoints/}. What is missing, torn or not understood is a problem
/// of the run and no failure; a folder with none of them throws athanor::Error.
Run read_run(const std::filesystem::path& folder);

}  // namespace athanor::report
