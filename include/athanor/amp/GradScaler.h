#pragma once
#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace athanor::amp {

struct GradScalerOptions {
  double init_scale = 65536;            ///< What the loss is multiplied by at first, > 0.
  double growth_factor = 2;             ///< The scale grows by this after growth_interval good steps, > 1.
  double backoff_factor = 0.5;          ///< And shrinks by this after an overflow, in (0, 1).
  std::int64_t growth_interval = 2000;  ///< Good steps in a row before the scale grows, > 0.
  bool enabled = true;                  ///< false: every call passes through.
};

/// Whether a step was made. On a GPU the answer is there only when the device has got so far: reading it waits.
class Stepped {
 public:
  explicit Stepped(bool made) : made_(made) {}
  explicit Stepped(at::Tensor found_inf) : found_inf_(std::move(found_inf)) {}
  operator bool() const;  // implicit: `bool stepped = scaler.step(optimizer)`

 private:
  bool made_ = false;
  at::Tensor found_inf_;
};

/// Scales the loss so that float16 gradients do not vanish, skips steps whose gradients overflowed, and adapts the
/// scale. PyTorch's torch.amp.GradScaler, with its state machine: unscale at most once and before step, step once, then
/// update; a wrong order throws std::logic_error. With our optimizers unscaling and the check are part of the update,
/// and on a GPU nothing waits for the device. Not thread-safe.
class GradScaler {
 public:
  explicit GradScaler(GradScalerOptions options = {});

  /// The loss times the scale. Its device is where the scale lives from then on.
  at::Tensor scale(const at::Tensor& loss);
  /// Divides the gradients by the scale now, e.g. to clip them; the step then does not.
  void unscale(torch::optim::Optimizer& optimizer);
  /// The optimizer's step, unless a gradient is infinite or NaN.
  Stepped step(torch::optim::Optimizer& optimizer);
  /// After the steps of all optimizers: adapts the scale.
  void update();
  /// Or sets it.
  void update(double new_scale);

  /// The scale now. On a GPU reading it waits for the device.
  [[nodiscard]] double scale() const;
  /// Names the first parameter whose gradient was not finite at the last step, and says what that means; "" if all were
  /// finite. Reads the gradients, so call it after a skipped step, before they are cleared. `names` one a parameter.
  [[nodiscard]] std::string explain(const torch::optim::Optimizer& optimizer,
                                    const std::vector<std::string>& names = {}) const;

  /// {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}, as PyTorch's.
  [[nodiscard]] nlohmann::json state() const;
  /// Takes over scale and count of good steps; the factors stay what the options say.
  void restore(const nlohmann::json& state);

  [[nodiscard]] const GradScalerOptions& options() const { return options_; }

 private:
  enum class Stage { ready, unscaled, stepped };
  struct PerOptimizer {
    Stage stage = Stage::ready;
    at::Tensor found_inf;
  };
  PerOptimizer& stage_of(torch::optim::Optimizer& optimizer) { return optimizers_[&optimizer]; }
  void place(const at::Device& device);

  GradScalerOptions options_;
  double initial_scale_;
  std::int64_t initial_tracker_ = 0;
  at::Tensor scale_;    // float, one element; undefined until the first loss
  at::Tensor tracker_;  // int32, one element: good steps in a row
  std::map<torch::optim::Optimizer*, PerOptimizer> optimizers_;
};

}  // namespace athanor::amp
