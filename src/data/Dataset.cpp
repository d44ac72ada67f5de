#include "athanor/data/Dataset.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

#include "athanor/core/Random.h"

namespace athanor::data {
namespace {

// No epoch has this number, so the split shares no random numbers with any shuffle.
constexpr std::uint64_t kSplitStream = ~std::uint64_t{0};

at::Tensor allocate(const Field& field, std::int64_t items, bool pinned) {
  std::vector<std::int64_t> shape{items};
  shape.insert(shape.end(), field.shape.begin(), field.shape.end());
  return at::empty(shape, at::TensorOptions().dtype(field.dtype).pinned_memory(pinned));
}

void check_range(std::span<const std::int64_t> indices, std::int64_t size) {
  for (const auto index : indices)
    if (index < 0 || index >= size)
      throw std::invalid_argument("data: sample " + std::to_string(index) + " of " + std::to_string(size));
}

// Rows of a contiguous tensor, copied plainly: the loader's thread must not wake LibTorch's own threads.
void copy_rows(const at::Tensor& from, std::span<const std::int64_t> indices, const at::Tensor& to) {
  const std::size_t row = from.size(0) == 0 ? 0 : from.nbytes() / static_cast<std::size_t>(from.size(0));
  const auto* const source = static_cast<const char*>(from.const_data_ptr());
  auto* target = static_cast<char*>(to.mutable_data_ptr());
  for (const auto index : indices) {
    std::memcpy(target, source + static_cast<std::size_t>(index) * row, row);
    target += row;
  }
}

Field field_of(const at::Tensor& rows) {
  return {rows.sizes().slice(1).vec(), rows.scalar_type()};
}

}  // namespace

Batch allocate_batch(const Dataset& dataset, std::int64_t items, bool pinned) {
  return {allocate(dataset.input(), items, pinned), allocate(dataset.target(), items, pinned), items};
}

Batch gather(const Dataset& dataset, std::span<const std::int64_t> indices) {
  check_range(indices, dataset.size());
  auto batch = allocate_batch(dataset, static_cast<std::int64_t>(indices.size()));
  dataset.gather(indices, batch);
  return batch;
}

Subset::Subset(std::shared_ptr<const Dataset> whole, std::vector<std::int64_t> indices)
    : whole_(std::move(whole)), indices_(std::move(indices)) {
  check_range(indices_, whole_->size());
}

void Subset::gather(std::span<const std::int64_t> indices, const Batch& batch) const {
  std::vector<std::int64_t> inner(indices.size());
  std::ranges::transform(indices, inner.begin(), [&](auto index) { return indices_[static_cast<std::size_t>(index)]; });
  whole_->gather(inner, batch);
}

TensorDataset::TensorDataset(at::Tensor inputs, at::Tensor targets)
    : inputs_(inputs.detach().cpu().contiguous()), targets_(targets.detach().cpu().contiguous()) {
  if (inputs_.dim() < 1 || targets_.dim() < 1 || inputs_.size(0) != targets_.size(0))
    throw std::invalid_argument("TensorDataset: inputs and targets must have as many rows as each other");
}

Field TensorDataset::input() const {
  return field_of(inputs_);
}
Field TensorDataset::target() const {
  return field_of(targets_);
}

void TensorDataset::gather(std::span<const std::int64_t> indices, const Batch& batch) const {
  copy_rows(inputs_, indices, batch.inputs);
  copy_rows(targets_, indices, batch.targets);
}

std::int64_t held_out(std::int64_t n, double fraction) {
  return std::llround(static_cast<double>(n) * fraction);
}

Parts split(std::int64_t n, double fraction, std::uint64_t seed) {
  if (!(fraction >= 0 && fraction < 1)) throw std::invalid_argument("data: a fraction must be >= 0 and < 1");
  const auto order = core::permutation(n, seed, kSplitStream);
  const auto border = order.begin() + static_cast<std::ptrdiff_t>(held_out(n, fraction));
  Parts parts{{border, order.end()}, {order.begin(), border}};
  std::ranges::sort(parts.train);
  std::ranges::sort(parts.validation);
  return parts;
}

}  // namespace athanor::data
