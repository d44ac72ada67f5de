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

/// Digests what is given to it on a second thread, in order. At most two pieces wait, so memory stays bounded.
class DigestThread {
 public:
  DigestThread();
  ~DigestThread();
  DigestThread(const DigestThread&) = delete;
  DigestThread& operator=(const DigestThread&) = delete;

  /// `owner` keeps the bytes alive until they are digested; undefined where the caller does.
  void feed(std::span<const std::byte> bytes, at::Tensor owner = {});
  std::string finish();

 private:
  struct Piece {
    std::span<const std::byte> bytes;
    at::Tensor owner;
  };
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Piece> waiting_;
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
  void commit(bool sync);

 private:
  [[noreturn]] void fail(const char* what, int error) const;

  std::filesystem::path path_;
  std::filesystem::path beside_;
  int fd_ = -1;
  bool committed_ = false;
  std::uint64_t written_ = 0;
};

}  // namespace athanor::store
