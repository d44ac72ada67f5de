#include "athanor/data/Open.h"

#include <fmt/format.h>

#include <array>

#include "data/Sources.h"

namespace athanor::data {

namespace {

std::string kind_of(const core::Config& table) {
  static const std::array<std::string, 5> kinds{"idx-images", "csv", "text", "tokens", "cifar10"};
  return table.choice("kind", "idx-images", kinds);
}

}  // namespace

Splits open(const core::Config& table, std::uint64_t seed) {
  const auto kind = kind_of(table);
  if (kind == "csv") return open_csv(table, seed);
  if (kind == "text") return open_text(table, seed);
  if (kind == "tokens") return open_tokens(table, seed);
  if (kind == "cifar10") return open_cifar10(table, seed);
  return open_idx_images(table, seed);
}

std::int64_t count(const core::Config& table, std::uint64_t seed) {
  const auto kind = kind_of(table);
  if (kind == "idx-images") return count_idx_images(table);
  if (kind == "cifar10") return count_cifar10(table);
  return open(table, seed).train->size();  // texts and tokens are mapped, not read; of a table only reading tells
}

LoaderOptions loader_options(const core::Config& table, std::uint64_t seed, const Dataset& dataset) {
  LoaderOptions options{.batch_size = table.integer("batch_size", 128),
                        .shuffle = table.boolean("shuffle", true),
                        .seed = seed,
                        .drop_last = table.boolean("drop_last", false),
                        .prefetch = table.boolean("prefetch", true)};
  if (options.batch_size < 1) table.reject("batch_size", fmt::format("must be >= 1, got {}", options.batch_size));
  if (options.batch_size > dataset.size())
    table.reject("batch_size", fmt::format("is {}, but the data has {} samples: make it smaller", options.batch_size,
                                           dataset.size()));
  return options;
}

double fraction_from(const core::Config& table, const std::string& key, double fallback) {
  const auto fraction = table.number(key, fallback);
  if (!(fraction >= 0 && fraction < 1)) table.reject(key, fmt::format("must be >= 0 and < 1, got {}", fraction));
  return fraction;
}

}  // namespace athanor::data
