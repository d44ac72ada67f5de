#pragma once
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace athanor::core {

/// SHA-256 fed piece by piece; lower-case hexadecimal at the end.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);
  /// The digest of everything fed so far; the object starts anew afterwards.
  [[nodiscard]] std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The digest of a file. Throws athanor::Error if it cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace athanor::core
