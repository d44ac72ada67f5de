#include <fmt/format.h>
#include <fmt/ranges.h>

#include "athanor/core/Error.h"
#include "athanor/data/Idx.h"
#include "data/Sources.h"

namespace athanor::data {
namespace {

constexpr const char* kDebianFolder = "/usr/share/datasets/fashion-mnist";

// The names MNIST and its kin use, gzipped or not, with a dash or a dot before "idx".
std::filesystem::path find(const std::filesystem::path& folder, const std::string& part, const std::string& kind) {
  for (const char* separator : {"-", "."})
    for (const char* ending : {"", ".gz"}) {
      auto path = folder / (part + "-" + kind.substr(0, 6) + separator + kind.substr(7) + ending);
      if (std::filesystem::exists(path)) return path;
    }
  return {};
}

LabelledImages read_part(const std::filesystem::path& images_path, const std::filesystem::path& labels_path) {
  LabelledImages part{read_idx(images_path), read_idx(labels_path)};
  if (part.images.dim() != 3 || part.images.scalar_type() != at::kByte)
    throw Error(fmt::format("cannot use {}: images must be bytes in 3 dimensions, these are {} in {}",
                            images_path.string(), toString(part.images.scalar_type()), part.images.dim()));
  if (part.images.numel() == 0) throw Error(fmt::format("cannot use {}: it holds no images", images_path.string()));
  if (part.labels.dim() != 1 || part.labels.scalar_type() != at::kByte)
    throw Error(fmt::format("cannot use {}: labels must be bytes in 1 dimension, these are {} in {}",
                            labels_path.string(), toString(part.labels.scalar_type()), part.labels.dim()));
  if (part.images.size(0) != part.labels.size(0))
    throw Error(fmt::format("{} holds {} images, but {} holds {} labels: they do not belong together",
                            images_path.string(), part.images.size(0), labels_path.string(), part.labels.size(0)));
  part.images = part.images.unsqueeze(1);
  part.labels = part.labels.to(at::kLong);
  return part;
}

// Where the training part and its labels lie, and in which folder.
struct TrainFiles {
  std::filesystem::path folder, images, labels;
};

TrainFiles find_training(const core::Config& table) {
  const auto given = table.text("path", "auto");
  const std::filesystem::path folder = given == "auto" ? kDebianFolder : given;
  if (!std::filesystem::is_directory(folder)) {
    if (given == "auto")
      throw Error(
          fmt::format("Fashion-MNIST is not in {}: apt-get install dataset-fashion-mnist, or set data.path to a "
                      "folder with train-images-idx3-ubyte.gz and its three companions",
                      kDebianFolder));
    throw Error(fmt::format("cannot read {}: no such folder (data.path)", folder.string()));
  }
  TrainFiles files{folder, find(folder, "train", "images-idx3-ubyte"), find(folder, "train", "labels-idx1-ubyte")};
  if (files.images.empty() || files.labels.empty())
    throw Error(fmt::format("cannot read {}: it lacks train-{}[.gz]", folder.string(),
                            files.images.empty() ? "images-idx3-ubyte" : "labels-idx1-ubyte"));
  return files;
}

}  // namespace

std::int64_t count_idx_images(const core::Config& table) {
  return images_to_train_on(table, idx_shape(find_training(table).images).front());
}

Splits open_idx_images(const core::Config& table, std::uint64_t seed) {
  const auto [folder, train_images, train_labels] = find_training(table);
  const auto test_images = find(folder, "t10k", "images-idx3-ubyte");
  const auto test_labels = find(folder, "t10k", "labels-idx1-ubyte");

  ImageFiles files;
  auto train = read_part(train_images, train_labels);
  files.train_images = train.images;
  files.train_labels = train.labels;
  if (!test_images.empty() && !test_labels.empty()) {
    auto test = read_part(test_images, test_labels);
    if (test.images.sizes().slice(1) != train.images.sizes().slice(1))
      throw Error(fmt::format("{}: test images have another size than training images", folder.string()));
    files.test_images = test.images;
    files.test_labels = test.labels;
  }
  auto splits = split_images(table, seed, files, 0);
  splits.description = folder.string() + ": " + splits.description;
  if (folder == kDebianFolder)
    splits.class_names = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                          "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  return splits;
}

}  // namespace athanor::data
