#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "optim/Method.h"
#include "optim/Progress.h"

namespace athanor::optim {

/// A method whose update needs the whole tensor (its shape, its norm). Traits say: Options, kind, slots(options),
/// initialise(state, param, options), takes_sparse, and update(param, grad, state, options, step) for one tensor, with
/// LibTorch's operators and without reading a value back. `grad` is unscaled, and negated to maximize.
template <class Traits>
class PerTensor : public Method {
 public:
  using Options = typename Traits::Options;

  [[nodiscard]] const char* kind() const override { return Traits::kind; }
  [[nodiscard]] bool has_step() const override { return Traits::has_step; }
  [[nodiscard]] bool takes_sparse() const override { return Traits::takes_sparse; }
  [[nodiscard]] std::vector<Slot> slots(const AnyOptions& options) const override { return Traits::slots(of(options)); }
  void initialise(ParamState& state, const at::Tensor& param, const AnyOptions& options) const override {
    Traits::initialise(state, param, of(options));
  }
  [[nodiscard]] bool masks_on(const at::Device& device) const override { return !device.is_cpu(); }
  void step(Group& group, AnyOptions& any, const Pass& pass) override {
    const Options& options = of(any);
    for (const auto& entry : group.entries) {
      if (entry.state == nullptr || (pass.only != nullptr && pass.only != &entry)) continue;
      at::Tensor grad = grad_of(entry.param);
      if (!grad.defined()) continue;
      if ((grad.layout() == at::kStrided) == Traits::takes_sparse)
        throw std::invalid_argument(std::string(Traits::kind) + ": parameter " + std::to_string(entry.number) +
                                    (Traits::takes_sparse
                                         ? " has a dense gradient: use adam for it"
                                         : " has a sparse gradient: use sparse_adam, sgd or adagrad for it"));
      const double factor = (options.maximize ? -1.0 : 1.0) * pass.inverse_scale;
      if (pass.device_scale.defined()) grad = grad / pass.device_scale;
      if (factor != 1) grad = grad * factor;
      ParamState& state = *entry.state;
      if (counts_on_device(state, pass.device_found_inf)) {
        const Progress<at::Tensor> now = coming_step(state, entry.param.device());
        Undo undo(changed_by_step(entry.param, state), pass.device_found_inf);
        Traits::update(entry.param, grad, state, options, now.step);
        undo.put_back();
        keep_progress(state, now, pass.device_found_inf);
      } else {
        Traits::update(entry.param, grad, state, options, static_cast<double>(++state.step));
      }
    }
  }

 protected:
  static const Options& of(const AnyOptions& options) {
    return static_cast<const GroupOptions<Options>&>(options).value;
  }
};

}  // namespace athanor::optim
