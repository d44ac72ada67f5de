#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

namespace athanor::core {

/// A whole file as memory, read when touched. Writing to it stays in this mapping: the file never changes. Another
/// program that shortens the file meanwhile makes reading past its new end fatal.
class MappedFile {
 public:
  /// Throws athanor::Error naming the path and the reason.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const { return {static_cast<std::byte*>(address_), size_}; }

 private:
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace athanor::core
