#include "athanor/core/AtomicFile.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "athanor/core/Error.h"

namespace athanor::core {
namespace {

[[noreturn]] void fail(const char* what, const std::filesystem::path& path, int error) {
  throw Error(std::string(what) + " " + path.string() + ": " + std::strerror(error));
}

class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

void write_atomically(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::path beside = path;
  beside += ".tmp-" + std::to_string(::getpid());
  const auto abandon = [&](const char* what, int error) {
    ::unlink(beside.c_str());
    fail(what, path, error);
  };
  {
    const Descriptor file(beside, O_WRONLY | O_CREAT | O_TRUNC);
    if (file.get() < 0) fail("cannot write", path, errno);
    while (!content.empty()) {
      const ssize_t written = ::write(file.get(), content.data(), content.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) abandon("cannot write", errno);
      content.remove_prefix(static_cast<std::size_t>(written));
    }
    if (::fsync(file.get()) != 0) abandon("cannot sync", errno);
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) abandon("cannot rename into place", errno);
  sync_folder(path.has_parent_path() ? path.parent_path() : ".");
}

void sync_folder(const std::filesystem::path& folder) {
  const Descriptor handle(folder, O_RDONLY | O_DIRECTORY);
  if (handle.get() < 0) fail("cannot open folder", folder, errno);
  // Some file systems cannot sync a folder and say EINVAL: their renames are as durable as they get.
  if (::fsync(handle.get()) != 0 && errno != EINVAL) fail("cannot sync folder", folder, errno);
}

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) fail("cannot read", path, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail("cannot read", path, errno);
  if (S_ISDIR(status.st_mode)) fail("cannot read", path, EISDIR);
  std::string content;
  std::string piece(1 << 16, '\0');
  for (;;) {
    const ssize_t got = ::read(file.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot read", path, errno);
    if (got == 0) return content;
    if (content.size() + static_cast<std::size_t>(got) > limit)
      throw Error("cannot read " + path.string() + ": larger than the " + std::to_string(limit) +
                  " bytes allowed here");
    content.append(piece, 0, static_cast<std::size_t>(got));
  }
}

}  // namespace athanor::core
