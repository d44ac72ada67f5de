#include "athanor/data/ImageDataset.h"

#include <cmath>
#include <stdexcept>

namespace athanor::data {

ImageDataset::ImageDataset(at::Tensor images, at::Tensor labels, const Normalisation& normalisation)
    : images_(images.contiguous()), labels_(labels.contiguous()) {
  if (images_.dim() != 4 || images_.scalar_type() != at::kByte || labels_.dim() != 1 ||
      labels_.scalar_type() != at::kLong || labels_.size(0) != images_.size(0))
    throw std::invalid_argument("ImageDataset: images must be bytes [N, channels, height, width], labels int64 [N]");
  const auto channels = static_cast<std::size_t>(images_.size(1));
  if (normalisation.mean.size() != channels || normalisation.deviation.size() != channels)
    throw std::invalid_argument("ImageDataset: mean and std must have one number for each of the " +
                                std::to_string(channels) + " channels");
  values_.resize(channels);
  for (std::size_t channel = 0; channel < channels; ++channel) {
    if (!(normalisation.deviation[channel] > 0)) throw std::invalid_argument("ImageDataset: std must be > 0");
    const auto mean = static_cast<float>(normalisation.mean[channel]);
    const auto deviation = static_cast<float>(normalisation.deviation[channel]);
    for (std::size_t byte = 0; byte < 256; ++byte)
      values_[channel][byte] = (static_cast<float>(byte) / 255.0F - mean) / deviation;
  }
}

void ImageDataset::gather(std::span<const std::int64_t> indices, const Batch& batch) const {
  const auto pixels = static_cast<std::size_t>(images_.size(2) * images_.size(3));
  const auto sample = pixels * values_.size();
  const auto* const images = images_.const_data_ptr<std::uint8_t>();
  const auto* const labels = labels_.const_data_ptr<std::int64_t>();
  auto* input = batch.inputs.mutable_data_ptr<float>();
  auto* target = batch.targets.mutable_data_ptr<std::int64_t>();
  for (const auto index : indices) {
    const auto* source = images + static_cast<std::size_t>(index) * sample;
    for (const auto& value : values_) {
      for (std::size_t pixel = 0; pixel < pixels; ++pixel) input[pixel] = value[source[pixel]];
      source += pixels;
      input += pixels;
    }
    *target++ = labels[index];
  }
}

Normalisation normalisation_of(const at::Tensor& images, std::span<const std::int64_t> indices) {
  const auto channels = static_cast<std::size_t>(images.size(1));
  const auto pixels = static_cast<std::size_t>(images.size(2) * images.size(3));
  const auto whole = images.contiguous();
  const auto* const bytes = whole.const_data_ptr<std::uint8_t>();
  // Counting bytes is exact, whatever the number of images.
  std::vector<std::array<std::uint64_t, 256>> counts(channels);
  for (const auto index : indices)
    for (std::size_t channel = 0; channel < channels; ++channel) {
      const auto* source = bytes + (static_cast<std::size_t>(index) * channels + channel) * pixels;
      for (std::size_t pixel = 0; pixel < pixels; ++pixel) ++counts[channel][source[pixel]];
    }
  Normalisation normalisation;
  for (const auto& count : counts) {
    double total = 0;
    double sum = 0;
    double squares = 0;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const auto number = static_cast<double>(count[byte]);
      const auto value = static_cast<double>(byte) / 255.0;
      total += number;
      sum += number * value;
      squares += number * value * value;
    }
    const auto mean = total > 0 ? sum / total : 0.0;
    const auto variance = total > 0 ? squares / total - mean * mean : 0.0;
    normalisation.mean.push_back(mean);
    normalisation.deviation.push_back(variance > 1e-12 ? std::sqrt(variance) : 1.0);  // one grey: nothing to scale
  }
  return normalisation;
}

}  // namespace athanor::data
