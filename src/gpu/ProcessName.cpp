#include "gpu/ProcessName.h"

#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "athanor/core/Terminal.h"

namespace athanor::gpu {

std::string user_of(std::int64_t pid) {
  struct stat status {};
  if (stat(("/proc/" + std::to_string(pid)).c_str(), &status) != 0) return "";
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  if (getpwuid_r(status.st_uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return core::printable(found->pw_name);
  return std::to_string(status.st_uid);
}

std::string command_of(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary);
  std::string words(1024, '\0');
  file.read(words.data(), static_cast<std::streamsize>(words.size()));
  words.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  while (!words.empty() && words.back() == '\0') words.pop_back();
  std::replace(words.begin(), words.end(), '\0', ' ');
  return core::printable(words);
}

}  // namespace athanor::gpu
