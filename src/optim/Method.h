#pragma once
#include <memory>
#include <string>
#include <vector>

#include "athanor/optim/Optimizer.h"
#include "athanor/optim/Storage.h"
#include "optim/engine/Table.h"

namespace athanor::optim {

/// A state tensor: PyTorch's name for it, whether the group's settings want it, and what it starts from.
struct Slot {
  std::string name;
  bool wanted = true;
  double initial = 0;
  bool made_by_method = false;  ///< initialise() makes it: it has another shape, or starts from the parameter.
  bool any_shape = false;       ///< And its shape depends on how far the run is; may be absent.
};

/// One parameter of a group, with what is kept about it between steps.
struct Entry {
  at::Tensor param;
  ParamState* state = nullptr;  ///< nullptr until the first gradient.
  // What the table's row was made from; a change (moved to another device, new storage) makes a new one.
  const void* data = nullptr;
  engine::Kernel kernel = nullptr;
  std::uint64_t number = 0;  ///< Its place among all the optimizer's parameters.
  std::uint64_t noise = 0;   ///< Stochastic rounding: key of this parameter and step.
  std::uint64_t pass = 0;    ///< The last pass in which its row was updated as it is.
};

struct Group {
  std::vector<Entry> entries;
  engine::Table table;  ///< A row an entry, valid where entry.kernel is set.
  engine::Cut usual;    ///< Rows that took part in the last pass, and are expected in the next.
  engine::Cut others;   ///< Rows that come on top.
  std::uint64_t pass = 0;
  std::shared_ptr<void> coefficients;
  engine::Kernel rule = nullptr;  ///< Of which rule the rows are.
};

/// What applies to the whole step.
struct Pass {
  double inverse_scale = 1;      ///< Of the gradient scaler, where it is on the host.
  at::Tensor device_scale = {};  ///< Where it is not; undefined otherwise.
  at::Tensor device_found_inf = {};
  int threads = 1;
  Entry* only = nullptr;  ///< Update this one alone.
};

/// What one optimizer adds to the machinery: names, state, and the update of a group. Subclasses: Elementwise.h for
/// rules that treat every element alike (most), one file each for the others.
class Method {
 public:
  virtual ~Method() = default;
  [[nodiscard]] virtual const char* kind() const = 0;
  [[nodiscard]] virtual std::vector<Slot> slots(const AnyOptions& options) const = 0;
  [[nodiscard]] virtual std::vector<std::string> scalars() const { return {}; }
  [[nodiscard]] virtual bool has_step() const { return true; }
  /// The group's Storage, or nullptr where the optimizer has none.
  [[nodiscard]] virtual const Storage* storage(const AnyOptions&) const { return nullptr; }
  /// Whether the update honours pass.device_found_inf, so that nobody need wait for it.
  [[nodiscard]] virtual bool masks_on(const at::Device&) const { return false; }
  /// Fills what slots() cannot say (state that depends on the parameter or the settings).
  virtual void initialise(ParamState&, const at::Tensor&, const AnyOptions&) const {}
  /// Updates every parameter of the group that has a gradient. State is there for these; `step` is not yet counted up.
  virtual void step(Group& group, AnyOptions& options, const Pass& pass) = 0;
  /// Whether update() takes sparse gradients.
  [[nodiscard]] virtual bool takes_sparse() const { return false; }
  /// Puts the averaged weights into the parameters, or the training weights back, where a method has two sets.
  virtual void set_averaged(Group&, AnyOptions&, bool) {}
  /// Replaces step() where an optimizer evaluates the closure itself (LBFGS); returns whether it did.
  virtual bool step_closure(torch::optim::Optimizer&, const torch::optim::Optimizer::LossClosure&, at::Tensor&) {
    return false;
  }
};

/// Makes what is missing of a parameter's state.
void ensure_state(const Method& method, const AnyOptions& options, const at::Tensor& param, ParamState& state);

/// The gradient of a parameter, undefined where there is none. Costs nothing, unlike Tensor::grad().
inline const at::Tensor& grad_of(const at::Tensor& param) {
  return param.unsafeGetTensorImpl()->grad();
}

}  // namespace athanor::optim
