#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "athanor/core/Config.h"
#include "athanor/data/ImageDataset.h"
#include "athanor/data/Open.h"

namespace athanor::data {

// One function and one file a kind of source: reads its keys of the [data] table and opens it.
Splits open_idx_images(const core::Config& table, std::uint64_t seed);
Splits open_csv(const core::Config& table, std::uint64_t seed);
Splits open_text(const core::Config& table, std::uint64_t seed);
Splits open_tokens(const core::Config& table, std::uint64_t seed);
Splits open_cifar10(const core::Config& table, std::uint64_t seed);

// How many samples such a source has to train on, without reading them.
std::int64_t count_idx_images(const core::Config& table);
std::int64_t count_cifar10(const core::Config& table);

/// Of so many images in the files, those to train on: as `limit` and `validation_fraction` say.
std::int64_t images_to_train_on(const core::Config& table, std::int64_t in_files);

/// The key `key`, a fraction >= 0 and < 1.
double fraction_from(const core::Config& table, const std::string& key, double fallback);

/// Images with a label each, as one or several files hold them.
struct LabelledImages {
  at::Tensor images;  ///< uint8 [N, channels, height, width] or [N, height, width]
  at::Tensor labels;  ///< [N]
};

/// Images and labels of the training and of the test part, as they were read.
struct ImageFiles {
  at::Tensor train_images;  ///< uint8 [N, channels, height, width]
  at::Tensor train_labels;  ///< int64 [N]
  at::Tensor test_images;   ///< Undefined where there is none.
  at::Tensor test_labels;
};

/// What all image sources have in common: `limit`, `validation_fraction`, `mean` and `std` (measured on the training
/// part where they are not given), `classes` (counted where it is 0).
Splits split_images(const core::Config& table, std::uint64_t seed, const ImageFiles& files, std::int64_t classes);

}  // namespace athanor::data
