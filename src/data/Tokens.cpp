#include "athanor/data/Tokens.h"

#include <stdexcept>
#include <string>

#include "athanor/core/Error.h"

namespace athanor::data {

TokenDataset::TokenDataset(std::shared_ptr<const core::MappedFile> file, TokenOptions options)
    : file_(std::move(file)), options_(options) {
  if (options_.stride == 0) options_.stride = options_.block;
  const auto refuse = [](const std::string& what) { throw std::invalid_argument("TokenDataset: " + what); };
  if (options_.width != 1 && options_.width != 2 && options_.width != 4) refuse("width must be 1, 2 or 4");
  if (options_.vocabulary < 1) refuse("vocabulary must be >= 1");
  if (options_.block < 1 || options_.stride < 1) refuse("block and stride must be >= 1");
  const auto there = static_cast<std::int64_t>(file_->bytes().size()) / options_.width;
  if (options_.end == 0) options_.end = there;
  if (options_.begin < 0 || options_.begin > options_.end || options_.end > there)
    refuse("the part must lie in the file's " + std::to_string(there) + " tokens");
  const auto tokens = options_.end - options_.begin;
  if (tokens <= options_.block)
    refuse("a part of " + std::to_string(tokens) +
           " tokens is shorter than block + 1 = " + std::to_string(options_.block + 1));
  samples_ = (tokens - options_.block - 1) / options_.stride + 1;
}

std::int64_t TokenDataset::token(std::int64_t position) const {
  const auto bytes = file_->bytes();
  const auto at = static_cast<std::size_t>(position * options_.width);
  std::int64_t value = 0;
  for (std::int64_t i = 0; i < options_.width; ++i)
    value |= std::to_integer<std::int64_t>(bytes[at + static_cast<std::size_t>(i)]) << (8 * i);
  if (value >= options_.vocabulary)
    throw Error("token " + std::to_string(position) + " of the file is " + std::to_string(value) +
                ", but the vocabulary has " + std::to_string(options_.vocabulary));
  return value;
}

void TokenDataset::gather(std::span<const std::int64_t> indices, const Batch& batch) const {
  auto* input = batch.inputs.mutable_data_ptr<std::int64_t>();
  auto* target = batch.targets.mutable_data_ptr<std::int64_t>();
  for (const auto index : indices) {
    const auto start = options_.begin + index * options_.stride;
    *input++ = token(start);
    for (std::int64_t i = 1; i < options_.block; ++i) *target++ = *input++ = token(start + i);
    *target++ = token(start + options_.block);
  }
}

}  // namespace athanor::data
