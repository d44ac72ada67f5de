#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "athanor/core/Error.h"
#include "data/Sources.h"

namespace athanor::data {
namespace {

std::int64_t highest(const at::Tensor& labels) {
  const std::span values(labels.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(labels.numel()));
  return values.empty() ? -1 : *std::ranges::max_element(values);
}

void check_labels(const core::Config& table, const at::Tensor& labels, std::int64_t classes, const char* part) {
  const std::span values(labels.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(labels.numel()));
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] < 0 || values[i] >= classes)
      table.reject("classes", fmt::format("is {}, but {} sample {} has class {} (classes count from 0)", classes, part,
                                          i, values[i]));
}

Normalisation normalisation_from(const core::Config& table, const at::Tensor& images,
                                 std::span<const std::int64_t> training) {
  const auto channels = static_cast<std::size_t>(images.size(1));
  Normalisation given{table.numbers("mean", {}), table.numbers("std", {})};
  for (const auto* key : {"mean", "std"}) {
    const auto& values = key[0] == 'm' ? given.mean : given.deviation;
    if (!values.empty() && values.size() != channels)
      table.reject(key, fmt::format("must have a number for each of the {} channels, got {}", channels, values.size()));
  }
  for (const auto deviation : given.deviation)
    if (!(deviation > 0)) table.reject("std", fmt::format("must be > 0, got {}", deviation));
  if (!given.mean.empty() && !given.deviation.empty()) return given;
  const auto measured = normalisation_of(images, training);
  if (given.mean.empty()) given.mean = measured.mean;
  if (given.deviation.empty()) given.deviation = measured.deviation;
  return given;
}

std::int64_t limit_from(const core::Config& table) {
  const auto limit = table.integer("limit", 0);
  if (limit < 0) table.reject("limit", fmt::format("must be >= 0 (0: all), got {}", limit));
  return limit;
}

}  // namespace

std::int64_t images_to_train_on(const core::Config& table, std::int64_t in_files) {
  const auto limit = limit_from(table);
  const auto images = limit > 0 ? std::min(limit, in_files) : in_files;
  return images - held_out(images, fraction_from(table, "validation_fraction", 0.1));
}

Splits split_images(const core::Config& table, std::uint64_t seed, const ImageFiles& files, std::int64_t classes) {
  const auto limit = limit_from(table);
  const auto fraction = fraction_from(table, "validation_fraction", 0.1);
  const auto images = limit > 0 ? files.train_images.slice(0, 0, limit) : files.train_images;
  const auto labels = limit > 0 ? files.train_labels.slice(0, 0, limit) : files.train_labels;

  Splits splits;
  splits.classes = table.integer("classes", classes);
  if (splits.classes < 0) table.reject("classes", fmt::format("must be >= 0 (0: counted), got {}", splits.classes));
  if (splits.classes == 0)
    splits.classes = std::max(highest(labels), files.test_labels.defined() ? highest(files.test_labels) : -1) + 1;
  check_labels(table, labels, splits.classes, "training");
  if (files.test_labels.defined()) check_labels(table, files.test_labels, splits.classes, "test");

  auto parts = split(images.size(0), fraction, seed);
  if (parts.train.empty()) throw Error("data: no image is left to train on");
  const auto normalisation = normalisation_from(table, images, parts.train);
  splits.sample_shape = images.sizes().slice(1).vec();
  splits.description =
      fmt::format("{} images of {} in {} classes to train on, {} to validate, {} to test; mean {:.4f}, std {:.4f}",
                  parts.train.size(), fmt::join(splits.sample_shape, "×"), splits.classes, parts.validation.size(),
                  files.test_images.defined() ? files.test_images.size(0) : 0, fmt::join(normalisation.mean, " "),
                  fmt::join(normalisation.deviation, " "));
  const auto whole = std::make_shared<ImageDataset>(images, labels, normalisation);
  if (!parts.validation.empty()) splits.val = std::make_shared<Subset>(whole, std::move(parts.validation));
  if (splits.val) {
    splits.train = std::make_shared<Subset>(whole, std::move(parts.train));
  } else {
    splits.train = whole;
  }
  if (files.test_images.defined())
    splits.test = std::make_shared<ImageDataset>(files.test_images, files.test_labels, normalisation);
  return splits;
}

}  // namespace athanor::data
