#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "athanor/data/Dataset.h"

namespace athanor::data {

/// Mean and standard deviation per channel, of pixels scaled to 0 … 1.
struct Normalisation {
  std::vector<double> mean;
  std::vector<double> deviation;
};

/// Images of bytes with a class each, kept as bytes and turned into floats as they are gathered: the values, bit by
/// bit, of `images.to(kFloat).div(255).sub(mean).div(deviation)`.
class ImageDataset : public Dataset {
 public:
  /// images: uint8 [N, channels, height, width]; labels: int64 [N]. Throws std::invalid_argument for other shapes, a
  /// normalisation for another number of channels, or a deviation <= 0.
  ImageDataset(at::Tensor images, at::Tensor labels, const Normalisation& normalisation);
  [[nodiscard]] std::int64_t size() const override { return images_.size(0); }
  [[nodiscard]] Field input() const override { return {images_.sizes().slice(1).vec(), at::kFloat}; }
  [[nodiscard]] Field target() const override { return {{}, at::kLong}; }
  void gather(std::span<const std::int64_t> indices, const Batch& batch) const override;

 private:
  at::Tensor images_;
  at::Tensor labels_;
  std::vector<std::array<float, 256>> values_;  // what each byte becomes, per channel
};

/// Exact mean and deviation of the images of these numbers.
Normalisation normalisation_of(const at::Tensor& images, std::span<const std::int64_t> indices);

}  // namespace athanor::data
