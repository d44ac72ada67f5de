#pragma once
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace athanor::cli {

/// What writing a page came to.
struct WrittenReport {
  std::size_t bytes = 0;
  bool running = false;  ///< A run of it goes on: the page reloads itself.
};

/// Reads the runs and writes their page, atomically. Throws athanor::Error.
WrittenReport write_report(const std::vector<std::string>& runs, const std::filesystem::path& out,
                           double refresh_seconds);

/// report.html of a run that goes on: made again now and then, so seldom that it takes at most a hundredth of the time.
/// A failure to write it is no reason to end a training: it is passed over.
class ReportFile {
 public:
  explicit ReportFile(std::filesystem::path run) : run_(std::move(run)) {}

  void refresh();
  void finish();

 private:
  void write();

  std::filesystem::path run_;
  std::chrono::steady_clock::time_point next_ = {};
};

}  // namespace athanor::cli
