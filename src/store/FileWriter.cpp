#include "store/FileWriter.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Error.h"

namespace athanor::store {

DigestThread::DigestThread() : thread_([this] { run(); }) {}

DigestThread::~DigestThread() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    waiting_.clear();
    done_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void DigestThread::feed(std::span<const std::byte> bytes, at::Tensor copy) {
  std::unique_lock lock(mutex_);
  if (copy.defined()) {
    changed_.wait(lock, [&] { return copies_ < 2; });
    ++copies_;
  }
  waiting_.push_back({bytes, std::move(copy)});
  changed_.notify_all();
}

std::string DigestThread::finish() {
  {
    const std::scoped_lock lock(mutex_);
    done_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (failure_) std::rethrow_exception(failure_);
  return result_;
}

void DigestThread::run() {
  for (;;) {
    Piece piece;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return done_ || !waiting_.empty(); });
      if (waiting_.empty()) break;
      piece = std::move(waiting_.front());
      waiting_.pop_front();
      if (piece.copy.defined()) --copies_;
    }
    changed_.notify_all();
    try {
      if (!failure_) digest_.update(piece.bytes);
    } catch (...) {
      failure_ = std::current_exception();
    }
  }
  if (!failure_) result_ = digest_.finish();
}

FileWriter::FileWriter(std::filesystem::path path) : path_(std::move(path)) {
  static std::atomic<unsigned> serial{0};  // two threads of one process may write the same file
  beside_ = path_;
  beside_ += ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(serial++);
  fd_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd_ < 0) fail("cannot write", errno);
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (!committed_ && !beside_.empty()) ::unlink(beside_.c_str());
}

void FileWriter::fail(const char* what, int error) const {
  throw Error(std::string(what) + " " + path_.string() + ": " + std::strerror(error));
}

void FileWriter::write(std::span<const std::byte> bytes) {
  const auto begin = static_cast<off64_t>(written_);
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), 1U << 30));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    written_ += static_cast<std::uint64_t>(count);
  }
  // The disk begins at once, while the next piece is on its way; whether it could begin does not matter.
  ::sync_file_range(fd_, begin, static_cast<off64_t>(written_) - begin, SYNC_FILE_RANGE_WRITE);
}

void FileWriter::sync() {
  if (::fsync(fd_) != 0) fail("cannot sync", errno);
}

void FileWriter::commit(bool synced) {
  if (::close(std::exchange(fd_, -1)) != 0) fail("cannot write", errno);
  if (::rename(beside_.c_str(), path_.c_str()) != 0) fail("cannot rename into place", errno);
  committed_ = true;
  if (synced) core::sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

}  // namespace athanor::store
