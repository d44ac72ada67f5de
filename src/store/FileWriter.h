#pragma once
#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <thread>

#include "athanor/core/Sha256.h"

namespace athanor::store {

/// Digests what is given to it on a second thread, in order. At most two pieces that hold memory of their own wait, so
/// that stays bounded; pieces of the caller's memory wait in any number, so the disk never waits for the digest.
class DigestThread {
 public:
  DigestThread();
  ~DigestThread();
  DigestThread(const DigestThread&) = delete;
  DigestThread& operator=(const DigestThread&) = delete;

  /// `copy` holds the bytes where they are no memory of the caller's, who otherwise keeps them alive until `finish`.
  void feed(std::span<const std::byte> bytes, at::Tensor copy = {});
  std::string finish();

 private:
  struct Piece {
    std::span<const std::byte> bytes;
    at::Tensor copy;
  };
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Piece> waiting_;
  int copies_ = 0;  // of the waiting pieces
  bool done_ = false;
  core::Sha256 digest_;
  std::string result_;
  std::exception_ptr failure_;
  std::thread thread_;
};

/// A file that appears whole or not at all: written beside its place, renamed into it by `commit`, removed without.
class FileWriter {
 public:
  explicit FileWriter(std::filesystem::path path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::span<const std::byte> bytes);
  /// Waits until what was written is on the disk.
  void sync();
  /// Puts the file in its place; `synced` asks that its name be on the disk too.
  void commit(bool synced);

 private:
  [[noreturn]] void fail(const char* what, int error) const;

  std::filesystem::path path_;
  std::filesystem::path beside_;
  int fd_ = -1;
  bool committed_ = false;
  std::uint64_t written_ = 0;
};

}  // namespace athanor::store
