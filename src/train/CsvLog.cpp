#include "athanor/train/CsvLog.h"

#include <fmt/format.h>

#include <charconv>
#include <string>

#include "athanor/core/AtomicFile.h"
#include "train/LogFile.h"
#include "train/Rows.h"

namespace athanor::train {
namespace {

constexpr const char* kHeader = "step,epoch,split,name,value\n";

// What was logged up to a step: rows after it, and a row without its end, go.
std::string rows_until(const std::string& text, std::int64_t last_step) {
  std::string kept = kHeader;
  std::size_t begin = text.find('\n');
  if (begin == std::string::npos) return kept;
  for (++begin; begin < text.size();) {
    const auto end = text.find('\n', begin);
    if (end == std::string::npos) break;
    std::int64_t step = 0;
    const auto [rest, error] = std::from_chars(text.data() + begin, text.data() + end, step);
    if (error == std::errc() && *rest == ',' && step <= last_step) kept.append(text, begin, end - begin + 1);
    begin = end + 1;
  }
  return kept;
}

}  // namespace

CsvLog::CsvLog(const std::filesystem::path& path, std::int64_t resume_step) {
  const bool resumed = resume_step >= 0 && std::filesystem::exists(path);
  core::write_atomically(path, resumed ? rows_until(core::read_file(path), resume_step) : kHeader);
  file_ = std::make_shared<LogFile>(path, "ab");
}

void CsvLog::operator()(const Event& event) {
  const auto rows = rows_of(event);
  if (rows.empty()) return;
  std::string text;
  for (const auto& row : rows)
    text += fmt::format("{},{},{},{},{}\n", event.step, event.epoch, row.split, row.name, row.value);
  if (event.kind == Event::Kind::step)  // TensorBoard keeps the time of every event by itself
    text += fmt::format("{},{},train,elapsed_seconds,{:.3f}\n", event.step, event.epoch, event.seconds);
  file_->write(text);
  file_->flush();
}

}  // namespace athanor::train
