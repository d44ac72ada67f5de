#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "athanor/train/Event.h"

namespace athanor::train {

class LogFile;

/// A TensorBoard event file (events.out.tfevents.*) with a scalar "split/name" for every metric, the learning rate and
/// the rate of items. An observer; copies share the file. Source of the format: TensorFlow's event.proto, summary.proto
/// and record_writer (length, masked CRC-32C of it, data, masked CRC-32C of it).
class TensorBoardLog {
 public:
  /// A new file in the folder. With `resume_step` >= 0 TensorBoard forgets what older files say after that step.
  /// Throws athanor::Error with path and reason.
  explicit TensorBoardLog(const std::filesystem::path& folder, std::int64_t resume_step = -1);

  void operator()(const Event& event);
  /// One value of one's own.
  void scalar(const std::string& tag, std::int64_t step, double value);

 private:
  std::shared_ptr<LogFile> file_;
};

}  // namespace athanor::train
