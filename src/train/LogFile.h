#pragma once
#include <cstdio>
#include <filesystem>
#include <string_view>

namespace athanor::train {

/// A file that is appended to; every failure is an athanor::Error with path and reason.
class LogFile {
 public:
  LogFile(std::filesystem::path path, const char* mode);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  void write(std::string_view bytes);
  void flush();

 private:
  std::filesystem::path path_;
  std::FILE* file_;
};

}  // namespace athanor::train
