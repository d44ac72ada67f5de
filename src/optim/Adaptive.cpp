#include "athanor/optim/Adaptive.h"

#include <algorithm>
#include <cmath>

#include "optim/Check.h"
#include "optim/Elementwise.h"
#include "optim/OptimizerOf.h"
#include "optim/rules/Coefficients.h"

namespace athanor::optim {
namespace lists {
#include "optim/rules/Adaptive-inl.h"
}
namespace {

struct RmspropTraits {
  using Options = RMSpropOptions;
  template <class Real>
  using CoefficientsOf = RmspropCoefficients;
  using Coefficients = RmspropCoefficients;
  static constexpr const char* kind = "rmsprop";
  static constexpr std::size_t slot_count = 3;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options& o) {
    return {{"square_avg"}, {"momentum_buffer", o.momentum > 0}, {"grad_avg", o.centered}};
  }
  static engine::Kernels kernels(const Options& o) {
    if (o.centered) return o.momentum > 0 ? rmsprop_centered_momentum_kernels() : rmsprop_centered_kernels();
    return o.momentum > 0 ? rmsprop_momentum_kernels() : rmsprop_kernels();
  }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real&, std::vector<Real>&) {
    return {.grad_factor = 1,
            .weight_decay = o.weight_decay,
            .alpha = o.alpha,
            .one_minus_alpha = 1 - o.alpha,
            .eps = o.eps,
            .momentum = o.momentum,
            .lr = o.lr};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options& o, const C& c) {
    if (o.centered && o.momentum > 0) return lists::RmspropRule<true, true>::update(params, grads, s, c);
    if (o.momentum > 0) return lists::RmspropRule<false, true>::update(params, grads, s, c);
    if (!o.centered) return lists::RmspropRule<false, false>::update(params, grads, s, c);
    lists::Lists used[] = {s[0], s[2]};
    lists::RmspropRule<true, false>::update(params, grads, used, c);
  }
};

struct AdagradTraits {
  using Options = AdagradOptions;
  template <class Real>
  using CoefficientsOf = AdagradCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = "adagrad";
  static constexpr std::size_t slot_count = 1;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options& o) { return {{"sum", true, o.initial_accumulator_value}}; }
  static engine::Kernels kernels(const Options&) { return adagrad_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>&) {
    return {.grad_factor = 1, .weight_decay = o.weight_decay, .eps = o.eps, .lr = o.lr / (1 + (step - 1) * o.lr_decay)};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options&, const C& c) {
    lists::AdagradRule::update(params, grads, s, c);
  }
  static void fused(Bucket& b, const Options& o, const Pass& pass) {
    const auto steps = device_steps(b);
    at::_fused_adagrad_(b.params.tensors, b.grads.tensors, b.slots[0].tensors, steps, o.lr, o.lr_decay, o.weight_decay,
                        o.eps, o.maximize, device_scale(b, pass), device_found_inf(pass));
    finish_steps(steps, pass);
  }
  // Only the rows that have a gradient.
  static void sparse(const at::Tensor& param, const at::Tensor& given, ParamState& state, const Options& o,
                     const Coefficients& c) {
    if (o.weight_decay != 0)
      throw std::invalid_argument(
          "adagrad: weight_decay does not go with sparse gradients: set it to 0 for this group");
    const at::Tensor grad = given.coalesce();
    const at::Tensor indices = grad._indices();
    const at::Tensor values = grad._values() * c.grad_factor;
    at::Tensor& sum = state.slots[0];
    sum.add_(at::sparse_coo_tensor(indices, values.square(), grad.sizes()));
    const at::Tensor size = sum.sparse_mask(grad)._values().sqrt().add_(c.eps);
    param.add_(at::sparse_coo_tensor(indices, values / size, grad.sizes()), -c.lr);
  }
};

struct AdadeltaTraits {
  using Options = AdadeltaOptions;
  template <class Real>
  using CoefficientsOf = AdadeltaCoefficients;
  using Coefficients = AdadeltaCoefficients;
  static constexpr const char* kind = "adadelta";
  static constexpr std::size_t slot_count = 2;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options&) { return {{"square_avg"}, {"acc_delta"}}; }
  static engine::Kernels kernels(const Options&) { return adadelta_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real&, std::vector<Real>&) {
    return {.grad_factor = 1,
            .weight_decay = o.weight_decay,
            .rho = o.rho,
            .one_minus_rho = 1 - o.rho,
            .eps = o.eps,
            .lr = o.lr};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options&, const C& c) {
    lists::AdadeltaRule::update(params, grads, s, c);
  }
};

}  // namespace

void RMSpropOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("alpha", alpha);
  fields.field("eps", eps);
  fields.field("weight_decay", weight_decay);
  fields.field("momentum", momentum);
  fields.field("centered", centered);
  fields.field("maximize", maximize);
}

void RMSpropOptions::check() const {
  constexpr const char* kind = "rmsprop";
  at_least_0(kind, "lr", lr);
  at_least_0(kind, "alpha", alpha);
  at_least_0(kind, "eps", eps);
  at_least_0(kind, "weight_decay", weight_decay);
  at_least_0(kind, "momentum", momentum);
}

void AdagradOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("lr_decay", lr_decay);
  fields.field("weight_decay", weight_decay);
  fields.field("initial_accumulator_value", initial_accumulator_value);
  fields.field("eps", eps);
  fields.field("maximize", maximize);
}

void AdagradOptions::check() const {
  constexpr const char* kind = "adagrad";
  at_least_0(kind, "lr", lr);
  at_least_0(kind, "lr_decay", lr_decay);
  at_least_0(kind, "weight_decay", weight_decay);
  at_least_0(kind, "initial_accumulator_value", initial_accumulator_value);
  at_least_0(kind, "eps", eps);
}

void AdadeltaOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("rho", rho);
  fields.field("eps", eps);
  fields.field("weight_decay", weight_decay);
  fields.field("maximize", maximize);
}

void AdadeltaOptions::check() const {
  constexpr const char* kind = "adadelta";
  at_least_0(kind, "lr", lr);
  require(rho >= 0 && rho <= 1, kind, "rho", "in [0, 1]", rho);
  at_least_0(kind, "eps", eps);
  at_least_0(kind, "weight_decay", weight_decay);
}

std::unique_ptr<Method> make_method(const RMSpropOptions&) {
  return std::make_unique<Elementwise<RmspropTraits>>();
}
std::unique_ptr<Method> make_method(const AdagradOptions&) {
  return std::make_unique<Elementwise<AdagradTraits>>();
}
std::unique_ptr<Method> make_method(const AdadeltaOptions&) {
  return std::make_unique<Elementwise<AdadeltaTraits>>();
}

template class OptimizerOf<RMSpropOptions>;
template class OptimizerOf<AdagradOptions>;
template class OptimizerOf<AdadeltaOptions>;

}  // namespace athanor::optim
