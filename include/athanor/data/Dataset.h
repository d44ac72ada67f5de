#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace athanor::data {

/// What one training step takes: samples stacked along the first dimension.
struct Batch {
  at::Tensor inputs;
  at::Tensor targets;
  std::int64_t items = 0;  ///< Samples; the weight of this batch in a mean over several.
};

/// Shape (without the batch dimension) and dtype of a sample's input or target.
struct Field {
  std::vector<std::int64_t> shape;
  at::ScalarType dtype = at::kFloat;
};

/// Samples by number. Derive from it to bring data of one's own. All functions may be called from several threads.
class Dataset {
 public:
  virtual ~Dataset() = default;

  [[nodiscard]] virtual std::int64_t size() const = 0;
  [[nodiscard]] virtual Field input() const = 0;
  [[nodiscard]] virtual Field target() const = 0;

  /// Copies the samples of these numbers, in order, into the rows of `batch`: contiguous host tensors of the shapes and
  /// dtypes above. Runs on the loader's thread: no parallel regions. Every index is below size().
  virtual void gather(std::span<const std::int64_t> indices, const Batch& batch) const = 0;
};

/// Fresh host memory for `items` samples.
Batch allocate_batch(const Dataset& dataset, std::int64_t items, bool pinned = false);

/// A batch of its own with the samples of these numbers. Throws std::invalid_argument for an index out of range.
Batch gather(const Dataset& dataset, std::span<const std::int64_t> indices);

/// Some samples of another dataset, in the order given.
class Subset : public Dataset {
 public:
  /// Throws std::invalid_argument for an index out of range.
  Subset(std::shared_ptr<const Dataset> whole, std::vector<std::int64_t> indices);
  [[nodiscard]] std::int64_t size() const override { return static_cast<std::int64_t>(indices_.size()); }
  [[nodiscard]] Field input() const override { return whole_->input(); }
  [[nodiscard]] Field target() const override { return whole_->target(); }
  void gather(std::span<const std::int64_t> indices, const Batch& batch) const override;

 private:
  std::shared_ptr<const Dataset> whole_;
  std::vector<std::int64_t> indices_;
};

/// Samples that lie in memory: row i of `inputs` and of `targets`, contiguous and on the host (else copied once).
class TensorDataset : public Dataset {
 public:
  /// Throws std::invalid_argument if the two differ in their number of rows.
  TensorDataset(at::Tensor inputs, at::Tensor targets);
  [[nodiscard]] std::int64_t size() const override { return inputs_.size(0); }
  [[nodiscard]] Field input() const override;
  [[nodiscard]] Field target() const override;
  void gather(std::span<const std::int64_t> indices, const Batch& batch) const override;

 private:
  at::Tensor inputs_;
  at::Tensor targets_;
};

/// How many of n samples are held out for validation: `fraction` of them, rounded.
std::int64_t held_out(std::int64_t n, double fraction);

/// The numbers of the training and validation part of n samples: `fraction` of them, rounded, drawn by the seed, go to
/// validation; both in rising order.
struct Parts {
  std::vector<std::int64_t> train;
  std::vector<std::int64_t> validation;
};
Parts split(std::int64_t n, double fraction, std::uint64_t seed);

}  // namespace athanor::data
