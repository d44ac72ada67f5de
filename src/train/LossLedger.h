#pragma once
#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

namespace athanor::train {

/// The losses since the last look. On the host a loss is read when it comes; on a device it is kept, and all of them
/// are read at once when someone looks.
class LossLedger {
 public:
  struct Bad {
    double loss;
    std::int64_t step;
  };

  void add(const at::Tensor& loss, std::int64_t items, std::int64_t step);
  /// The first loss that was not finite, among those read so far.
  [[nodiscard]] const std::optional<Bad>& bad() const { return bad_; }

  /// Reads what is kept.
  void settle();
  /// The mean over all items since the last call.
  [[nodiscard]] double take_mean();

  /// Of the whole epoch, for its train_loss and for a checkpoint in its middle.
  double epoch_sum = 0;
  std::int64_t epoch_items = 0;

 private:
  void count(double loss, std::int64_t items, std::int64_t step);

  struct Kept {
    at::Tensor loss;
    std::int64_t items, step;
  };
  std::vector<Kept> kept_;
  double sum_ = 0;
  std::int64_t items_ = 0;
  std::optional<Bad> bad_;
};

}  // namespace athanor::train
