#pragma once
#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "athanor/optim/Fields.h"

namespace athanor::optim {

class Method;  // What one optimizer adds: its update rule and its state. src/optim/Method.h
struct Group;
struct Entry;

/// The settings of one parameter group, whatever the optimizer.
class AnyOptions : public torch::optim::OptimizerOptions {
 public:
  virtual void visit(Fields& fields) = 0;
  /// Throws std::invalid_argument if a setting is out of its range.
  virtual void check() const = 0;
  void serialize(torch::serialize::InputArchive& archive) override;
  void serialize(torch::serialize::OutputArchive& archive) const override;
};

/// A settings struct (`AdamWOptions`, …) as LibTorch keeps it in a parameter group. The struct has `lr`,
/// `visit(Fields&)` and `check()`.
template <class Options>
class GroupOptions final : public AnyOptions {
 public:
  GroupOptions(Options options) : value(std::move(options)) {}  // implicit: a settings struct is group options
  void visit(Fields& fields) override { value.visit(fields); }
  void check() const override { value.check(); }
  std::unique_ptr<torch::optim::OptimizerOptions> clone() const override {
    return std::make_unique<GroupOptions>(*this);
  }
  double get_lr() const override { return value.lr; }
  void set_lr(const double lr) override { value.lr = lr; }

  Options value;
};

/// A parameter group with settings of its own: `AdamW({group(weights, {.weight_decay = 0.1}), …})`.
template <class Options>
torch::optim::OptimizerParamGroup group(std::vector<at::Tensor> parameters, Options options) {
  return {std::move(parameters), std::make_unique<GroupOptions<Options>>(std::move(options))};
}

/// What an optimizer remembers of one parameter.
struct ParamState final : torch::optim::OptimizerParamState {
  std::int64_t step = 0;          ///< Updates made so far.
  std::vector<at::Tensor> slots;  ///< In the order of Optimizer::slot_names(); undefined where a setting needs it not.
  std::vector<double> scalars;    ///< In the order of Optimizer::scalar_names().
  at::Tensor device_step;         ///< Where the device counts: steps made, then the scalars; `step` has those tried.

  std::unique_ptr<torch::optim::OptimizerParamState> clone() const override;
};

/// The gradient scaler's part in a step: gradients are divided by `scale`, and nothing happens if `found_inf` is not 0.
/// Tensors of one element; undefined means 1 and 0.
struct Scaling {
  at::Tensor scale = {};
  at::Tensor found_inf = {};
};

/// All our optimizers: drop-in torch::optim::Optimizers on one multi-tensor engine. Parameters of any devices and
/// dtypes may be mixed in one group (each kind takes its own pass). CPU tensors of float, double and bfloat16 take the
/// vectorised engine, everything else LibTorch's fused or foreach operators. A parameter without a gradient is skipped.
/// Not thread-safe. The pointer tables are kept between steps, so do not resize a parameter's state by hand.
class Optimizer : public torch::optim::Optimizer {
 public:
  ~Optimizer() override;

  at::Tensor step(LossClosure closure = nullptr) override;
  /// The step of amp::GradScaler: unscaling and the check for overflow are part of the same pass. On a GPU nothing
  /// waits for the device: fused kernels (adam, adamw, sgd, adagrad) skip, the others are undone by the device where
  /// found_inf is not 0, for a copy of some tensors at a time. Sparse gradients make it wait.
  void step(const Scaling& scaling);
  /// Updates one parameter only: its gradient is complete while others are not (see step_in_backward).
  void step_parameter(const at::Tensor& parameter);

  /// Adds parameters, with the group's own options if it has them. Call it on this class: LibTorch's replaces the
  /// options of optimizers it does not know by the defaults.
  void add_param_group(const torch::optim::OptimizerParamGroup& group);

  /// Schedule-free optimizers keep two sets of weights: eval() puts the averaged ones into the parameters, for
  /// validation and for saving, and train() the ones that training goes on with. For all others both do nothing.
  void eval();
  void train();

  /// "adamw": the kind of the TOML and of saved state.
  [[nodiscard]] std::string kind() const;
  /// PyTorch's names of the state tensors and state numbers, in the order in which ParamState holds them.
  [[nodiscard]] std::vector<std::string> slot_names() const;
  [[nodiscard]] std::vector<std::string> scalar_names() const;
  /// Whether PyTorch keeps a `step` for this kind.
  [[nodiscard]] bool has_step() const;
  /// Bytes of state held now.
  [[nodiscard]] std::int64_t state_bytes() const;

  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

  /// Forgets the pointer tables; state that was changed by hand is then seen.
  void refresh();

  [[nodiscard]] Method& method() { return *method_; }  ///< For this room.

 protected:
  Optimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups, std::unique_ptr<AnyOptions> defaults,
            std::unique_ptr<Method> method);

 private:
  void prepare();
  void follow();
  void begin(std::size_t group, Entry& entry);
  void set_averaged(bool averaged);

  std::unique_ptr<Method> method_;
  std::vector<std::unique_ptr<Group>> groups_;
  std::unordered_map<const void*, std::pair<std::size_t, std::size_t>> places_;  // parameter: group, entry
  std::size_t known_states_ = 0;
};

/// An optimizer by its settings struct; `using AdamW = OptimizerOf<AdamWOptions>`.
template <class Options>
class OptimizerOf final : public Optimizer {
 public:
  explicit OptimizerOf(std::vector<at::Tensor> parameters, Options defaults = {});
  explicit OptimizerOf(const std::vector<torch::optim::OptimizerParamGroup>& groups, Options defaults = {});

  [[nodiscard]] Options& options(std::size_t group = 0) {
    return static_cast<GroupOptions<Options>&>(param_groups().at(group).options()).value;
  }
};

}  // namespace athanor::optim
