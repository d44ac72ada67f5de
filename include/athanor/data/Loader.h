#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "athanor/data/Dataset.h"

namespace athanor::data {

struct LoaderOptions {
  std::int64_t batch_size = 128;
  bool shuffle = true;  ///< A new order each epoch: a function of seed and epoch alone.
  std::uint64_t seed = 0;
  bool drop_last = false;  ///< Leaves out the last batch of an epoch if it is not full.
  bool prefetch = true;    ///< Gathers the next batch on a thread of its own, where it costs more than handing it over.
  bool pinned = false;     ///< Page-locked memory, for copies to a CUDA device that run beside the computation.
};

/// Gives the batches of an epoch, the next one gathered while the last is computed on: two batches are in memory at
/// most, as long as the caller lets go of one before it asks for the next. A batch's memory is used again once nobody
/// holds it or a view of it. Not thread-safe.
class Loader {
 public:
  /// Throws std::invalid_argument if batch_size < 1 or larger than the dataset.
  Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options);
  ~Loader();
  Loader(Loader&&) noexcept;
  Loader& operator=(Loader&&) noexcept;

  /// Begins an epoch, or goes on with it from a batch in the middle: the batches are the same as if it had been run
  /// from its start. Throws std::invalid_argument if epoch < 0 or first_batch is outside 0 … batches().
  void start_epoch(std::int64_t epoch, std::int64_t first_batch = 0);

  /// The next batch; nullopt once the epoch is over (and before the first start_epoch). Rethrows what gathering threw.
  [[nodiscard]] std::optional<Batch> next();

  /// Batches of an epoch, and how many of the current one have been given out.
  [[nodiscard]] std::int64_t batches() const;
  [[nodiscard]] std::int64_t position() const;
  [[nodiscard]] const Dataset& dataset() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace athanor::data
