#pragma once
#include <cstdint>
#include <memory>

#include "athanor/core/MappedFile.h"
#include "athanor/data/Dataset.h"

namespace athanor::data {

struct TokenOptions {
  std::int64_t begin = 0;  ///< First token of this part of the file, and one past its last; 0: the file's end.
  std::int64_t end = 0;
  std::int64_t width = 1;  ///< Bytes a token: 1, 2 or 4 (little-endian).
  std::int64_t vocabulary = 256;
  std::int64_t block = 64;  ///< Tokens a sample.
  std::int64_t stride = 0;  ///< From one sample's start to the next's; 0: block, so that each token is met once.
};

/// Windows over a file of tokens for predicting the next one: inputs are tokens s … s+block−1, targets s+1 … s+block,
/// both int64. The file is mapped: only what is gathered is read.
class TokenDataset : public Dataset {
 public:
  /// Throws std::invalid_argument for settings out of range or a part shorter than block + 1 tokens.
  TokenDataset(std::shared_ptr<const core::MappedFile> file, TokenOptions options);
  [[nodiscard]] std::int64_t size() const override { return samples_; }
  [[nodiscard]] Field input() const override { return {{options_.block}, at::kLong}; }
  [[nodiscard]] Field target() const override { return input(); }
  /// Throws athanor::Error for a token outside the vocabulary, saying where it stands.
  void gather(std::span<const std::int64_t> indices, const Batch& batch) const override;

 private:
  [[nodiscard]] std::int64_t token(std::int64_t position) const;

  std::shared_ptr<const core::MappedFile> file_;
  TokenOptions options_;
  std::int64_t samples_ = 0;
};

}  // namespace athanor::data
