#include "cli/ReportFile.h"

#include <fmt/format.h>

#include <algorithm>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Error.h"
#include "athanor/core/Format.h"
#include "athanor/report/Page.h"

namespace athanor::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kRefreshSeconds = 10.0;

// One name for two runs would make their lines one.
void tell_apart(std::vector<report::Run>& runs) {
  for (std::size_t i = 0; i < runs.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (runs[i].name == runs[j].name) {
        runs[i].name = fmt::format("{} ({})", runs[i].name, i + 1);
        break;
      }
}

}  // namespace

WrittenReport write_report(const std::vector<std::string>& folders, const std::filesystem::path& out,
                           double refresh_seconds) {
  std::vector<report::Run> runs;
  WrittenReport written;
  for (const auto& folder : folders) {
    runs.push_back(report::read_run(folder));
    written.running = written.running || runs.back().status() == "running";
  }
  tell_apart(runs);
  const std::string page = report::page(runs, {.refresh_seconds = written.running ? refresh_seconds : 0.0,
                                               .made = core::local_time("%Y-%m-%d %H:%M:%S")});
  core::write_atomically(out, page);
  written.bytes = page.size();
  return written;
}

void ReportFile::refresh() {
  if (Clock::now() >= next_) write();
}

void ReportFile::finish() {
  write();
}

void ReportFile::write() {
  const auto start = Clock::now();
  try {
    write_report({run_.string()}, run_ / "report.html", kRefreshSeconds);
  } catch (const Error&) {  // the metrics are safe; the page can be made from them at any time
  }
  const auto took = Clock::now() - start;
  next_ = Clock::now() + std::max<Clock::duration>(std::chrono::seconds(10), 100 * took);
}

}  // namespace athanor::cli
