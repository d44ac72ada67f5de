#include "train/LogFile.h"

#include <cerrno>
#include <cstring>

#include "athanor/core/Error.h"

namespace athanor::train {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* what) {
  throw Error(path.string() + ": cannot " + what + ": " + std::strerror(errno));
}

}  // namespace

LogFile::LogFile(std::filesystem::path path, const char* mode)
    : path_(std::move(path)), file_(std::fopen(path_.c_str(), mode)) {
  if (!file_) fail(path_, "open");
}

LogFile::~LogFile() {
  std::fclose(file_);
}

void LogFile::write(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) fail(path_, "write");
}

void LogFile::flush() {
  if (std::fflush(file_) != 0) fail(path_, "write");
}

}  // namespace athanor::train
