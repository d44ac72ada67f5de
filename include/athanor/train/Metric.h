#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace athanor::train {

/// Values by name, "val_loss", "val_accuracy", …: the split, an underscore, the metric.
using Metrics = std::map<std::string, double>;

/// A quantity of a whole split. `measure` gives a batch's mean (a scalar on any device; nothing is read off it until
/// the split ends), `finish` turns the mean over all batches, weighted by their items, into the value: identity, or exp
/// for perplexity. One's own metric is one of these.
struct Metric {
  std::string name;
  /// output [items…, classes] or [items…], targets [items…], and the batch's mean loss.
  std::function<at::Tensor(const at::Tensor& output, const at::Tensor& targets, const at::Tensor& mean_loss)> measure;
  std::function<double(double mean)> finish = [](double mean) { return mean; };
  bool needs_output = true;  ///< False: `measure` looks at the loss alone, and `output` may be undefined.
};

/// Whether any of them looks at outputs: if none does, a split can be evaluated without ever having them.
bool need_outputs(const std::vector<Metric>& metrics);

/// The share of items whose largest output is the target's class. Works on [N, C] and, for sequences, [N, T, C].
Metric accuracy();
/// The share of items whose target is among the k largest outputs; k = 5 is called "top5". Throws if k < 1.
Metric top_k(std::int64_t k = 5);
/// exp of the mean loss: the loss must be the mean cross-entropy in nats.
Metric perplexity();

/// The built-in metric of a name: "accuracy", "top5", "perplexity". Throws std::invalid_argument naming the nearest.
Metric metric_of_name(const std::string& name);

/// Sums of several metrics over a split, the loss among them, weighted by items. Not thread-safe.
class Tally {
 public:
  explicit Tally(std::vector<Metric> metrics) : metrics_(std::move(metrics)) {}

  /// Takes one batch. items: the count of targets the mean loss is a mean of.
  void add(const at::Tensor& output, const at::Tensor& targets, const at::Tensor& mean_loss, std::int64_t items);
  /// The values, named split_metric; reads the sums off the device. Empty if nothing was added.
  [[nodiscard]] Metrics values(const std::string& split) const;

 private:
  std::vector<Metric> metrics_;
  std::vector<at::Tensor> sums_;  // double, on the outputs' device: the loss first, then one a metric
  std::int64_t items_ = 0;
};

}  // namespace athanor::train
