#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <cstring>

#include "athanor/core/Error.h"
#include "athanor/core/MappedFile.h"
#include "data/Sources.h"

namespace athanor::data {
namespace {

// Records of one label byte and 3×32×32 pixel bytes. Source: https://www.cs.toronto.edu/~kriz/cifar.html.
constexpr std::size_t kPixels = 3 * 32 * 32;
constexpr std::size_t kRecord = 1 + kPixels;

LabelledImages read_file(const std::filesystem::path& path) {
  const core::MappedFile file(path);
  const auto bytes = file.bytes();
  if (bytes.empty() || bytes.size() % kRecord != 0)
    throw Error(
        fmt::format("cannot read {}: {} bytes are no whole number of CIFAR-10 records of {}; it is cut short or "
                    "not the binary version",
                    path.string(), bytes.size(), kRecord));
  const auto count = bytes.size() / kRecord;
  LabelledImages part{at::empty({static_cast<std::int64_t>(count), 3, 32, 32}, at::kByte),
                      at::empty({static_cast<std::int64_t>(count)}, at::kLong)};
  auto* const images = part.images.mutable_data_ptr<std::uint8_t>();
  auto* const labels = part.labels.mutable_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < count; ++i) {
    const auto record = bytes.subspan(i * kRecord, kRecord);
    labels[i] = std::to_integer<std::int64_t>(record[0]);
    if (labels[i] > 9) throw Error(fmt::format("cannot read {}: record {} has class {}", path.string(), i, labels[i]));
    std::memcpy(images + i * kPixels, record.data() + 1, kPixels);
  }
  return part;
}

constexpr int kBatches = 5;

std::filesystem::path folder_of(const core::Config& table) {
  const std::filesystem::path folder = table.text("path", "cifar-10-batches-bin");
  if (!std::filesystem::is_directory(folder))
    throw Error(
        fmt::format("cannot read {}: no such folder (data.path); CIFAR-10's \"binary version\", unpacked, brings "
                    "data_batch_1.bin to data_batch_5.bin and test_batch.bin",
                    folder.string()));
  return folder;
}

std::filesystem::path batch_file(const std::filesystem::path& folder, int number) {
  return folder / fmt::format("data_batch_{}.bin", number);
}

}  // namespace

std::int64_t count_cifar10(const core::Config& table) {
  const auto folder = folder_of(table);
  std::int64_t images = 0;
  for (int i = 1; i <= kBatches; ++i)
    images += static_cast<std::int64_t>(core::MappedFile(batch_file(folder, i)).bytes().size() / kRecord);
  return images_to_train_on(table, images);
}

Splits open_cifar10(const core::Config& table, std::uint64_t seed) {
  const auto folder = folder_of(table);
  std::vector<at::Tensor> images;
  std::vector<at::Tensor> labels;
  for (int i = 1; i <= kBatches; ++i) {
    auto part = read_file(batch_file(folder, i));
    images.push_back(part.images);
    labels.push_back(part.labels);
  }
  const auto test = read_file(folder / "test_batch.bin");
  auto splits = split_images(table, seed, {at::cat(images), at::cat(labels), test.images, test.labels}, 10);
  splits.description = folder.string() + ": " + splits.description;
  splits.class_names = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  return splits;
}

}  // namespace athanor::data
