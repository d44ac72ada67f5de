#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "athanor/core/Config.h"
#include "athanor/data/Dataset.h"
#include "athanor/data/Loader.h"

namespace athanor::data {

/// The parts of a data source. `val` and `test` are null where there is none.
struct Splits {
  std::shared_ptr<const Dataset> train;
  std::shared_ptr<const Dataset> val;
  std::shared_ptr<const Dataset> test;
  std::vector<std::int64_t> sample_shape;  ///< Of an input, without the batch dimension.
  std::int64_t classes = 0;                ///< Targets are class numbers below it; 0: targets are real numbers.
  std::vector<std::string> class_names;    ///< Empty where the source has none.
  std::string description;                 ///< One line for people: where from, how many, how normalised.
};

/// Opens what the [data] table names: `kind` and its keys, see docs/data.md. Throws std::invalid_argument (the table)
/// or athanor::Error (the files; a missing dataset says which package brings it).
Splits open(const core::Config& table, std::uint64_t seed);

/// How many samples `open` gives to train on. Of images only the headers and sizes of files are read, so that files
/// damaged further on are counted. Throws as `open` does.
std::int64_t count(const core::Config& table, std::uint64_t seed);

/// The loader's settings out of the same table: batch_size, shuffle, drop_last, prefetch. A batch larger than the
/// dataset is the mistake at that key.
LoaderOptions loader_options(const core::Config& table, std::uint64_t seed, const Dataset& dataset);

}  // namespace athanor::data
