#pragma once
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "athanor/train/Event.h"

namespace athanor::train {

class LogFile;

/// metrics.csv: step,epoch,split,name,value, one row a value, each with the digits that read back to the same double.
/// An observer; cheap to copy, copies share the file. Rows are in the file when the call returns.
class CsvLog {
 public:
  /// Begins a file, or goes on with one: with `resume_step` >= 0, rows of later steps (from a run that was killed after
  /// its last checkpoint) and a torn last row are dropped first. Throws athanor::Error with path and reason.
  explicit CsvLog(const std::filesystem::path& path, std::int64_t resume_step = -1);

  /// Throws athanor::Error if the disk does not take it.
  void operator()(const Event& event);

 private:
  std::shared_ptr<LogFile> file_;
};

}  // namespace athanor::train
