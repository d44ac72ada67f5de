#include <fmt/format.h>

#include <cmath>

#include "athanor/core/Error.h"
#include "athanor/data/Tokens.h"
#include "data/Sources.h"

namespace athanor::data {
namespace {

// In order: the first part trains, then comes validation, then the test; text is never shuffled across the borders.
Splits open_mapped(const core::Config& table, std::int64_t width, std::int64_t vocabulary, const char* unit) {
  const auto path = table.text("path", "auto");
  if (path == "auto")
    throw Error(
        "data.path must name a file; for a text to begin with: apt-get install bible-kjv, then "
        "bible gen1:1-rev22:21 > bible.txt and data.path = \"bible.txt\"");
  const auto validation = fraction_from(table, "validation_fraction", 0.1);
  const auto test = fraction_from(table, "test_fraction", 0.0);
  if (validation + test >= 1) table.reject("test_fraction", "leaves nothing to train on");
  TokenOptions options{.width = width, .vocabulary = vocabulary, .block = table.integer("block", 64)};
  const auto stride = table.integer("stride", 0);
  if (options.block < 1) table.reject("block", fmt::format("must be >= 1, got {}", options.block));
  if (stride < 0) table.reject("stride", fmt::format("must be >= 0 (0: block), got {}", stride));

  const auto file = std::make_shared<const core::MappedFile>(path);
  const auto tokens = static_cast<std::int64_t>(file->bytes().size()) / width;
  if (static_cast<std::int64_t>(file->bytes().size()) % width != 0)
    throw Error(fmt::format("cannot use {}: {} bytes are no whole number of {}-byte tokens", path, file->bytes().size(),
                            width));
  const auto part = [&](double fraction) -> std::int64_t {
    return std::llround(static_cast<double>(tokens) * fraction);
  };
  const auto train_end = tokens - part(validation + test);
  const auto val_end = std::min(train_end + part(validation), tokens);
  const auto make = [&](std::int64_t begin, std::int64_t end, std::int64_t step,
                        const char* name) -> std::shared_ptr<const Dataset> {
    if (begin == end) return nullptr;
    if (end - begin <= options.block)
      table.reject("block", fmt::format("is {}, but the {} part of {} has only {} {}", options.block, name, path,
                                        end - begin, unit));
    auto here = options;
    here.begin = begin;
    here.end = end;
    here.stride = step;
    return std::make_shared<TokenDataset>(file, here);
  };
  Splits splits;
  if (tokens <= options.block)
    throw Error(fmt::format("cannot use {}: {} {} are not even one block of {}", path, tokens, unit, options.block));
  splits.train = make(0, train_end, stride, "training");
  splits.val = make(train_end, val_end, 0, "validation");
  splits.test = make(val_end, tokens, 0, "test");
  splits.sample_shape = {options.block};
  splits.classes = vocabulary;
  splits.description = fmt::format("{}: {} {} to train on, {} to validate, {} to test, in blocks of {}", path,
                                   train_end, unit, val_end - train_end, tokens - val_end, options.block);
  return splits;
}

}  // namespace

Splits open_text(const core::Config& table, std::uint64_t /*seed*/) {
  return open_mapped(table, 1, 256, "bytes");
}

Splits open_tokens(const core::Config& table, std::uint64_t /*seed*/) {
  const auto vocabulary = table.integer("vocabulary", 50257);
  constexpr std::int64_t of_two_bytes = std::int64_t{1} << 16, of_four_bytes = std::int64_t{1} << 32;
  if (vocabulary < 1 || vocabulary > of_four_bytes)
    table.reject("vocabulary", fmt::format("must be 1 to {}, got {}", of_four_bytes, vocabulary));
  return open_mapped(table, vocabulary > of_two_bytes ? 4 : 2, vocabulary, "tokens");
}

}  // namespace athanor::data
