#include "cli/MemoryLog.h"

#include <fmt/format.h>

#include <utility>

namespace athanor::cli {

MemoryLog::MemoryLog(gpu::MemoryWatch watch, Bytes given, std::unique_ptr<RunForecast> rehearsal,
                     std::function<void(const std::string&)> say)
    : watch_(std::move(watch)), forecast_(given), rehearsal_(std::move(rehearsal)), say_(std::move(say)) {}

bool MemoryLog::add_to(train::Event& event) {
  const bool arrived = rehearsal_ && rehearsal_->ready();
  if (arrived) expect();
  for (const auto& [name, bytes] : watch_.read()) event.metrics["train_" + name] = bytes;
  if (forecast_.count > 0) event.metrics["train_memory_forecast"] = static_cast<double>(forecast_.count);
  return arrived && rehearsed_;
}

void MemoryLog::finish() {
  if (rehearsal_) expect();
  (void)watch_.read();
}

// In the measure that is watched: what the driver counts for the process, or else the allocator's.
void MemoryLog::expect() {
  const auto rehearsal = std::exchange(rehearsal_, nullptr);
  try {
    rehearsed_ = rehearsal->wait();
  } catch (const std::exception& reason) {
    say_(fmt::format("memory: no forecast: {}", reason.what()));
  }
  if (!rehearsed_) return;
  forecast_ = watch_.sees_process() ? rehearsed_->process : rehearsed_->reserved;
  say_(fmt::format("memory: ~{} expected on {}", forecast_.text(), rehearsed_->gpu));
}

nlohmann::json MemoryLog::facts() const {
  nlohmann::json facts{{"highest", watch_.highest().count}};
  if (forecast_.count > 0) facts["forecast"] = forecast_.count;
  if (rehearsed_)
    facts["rehearsed"] = {
        {"gpu", rehearsed_->gpu}, {"reserved", rehearsed_->reserved.count}, {"process", rehearsed_->process.count}};
  return facts;
}

}  // namespace athanor::cli
