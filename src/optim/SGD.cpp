#include "athanor/optim/SGD.h"

#include "optim/Check.h"
#include "optim/Elementwise.h"
#include "optim/OptimizerOf.h"
#include "optim/rules/Coefficients.h"

namespace athanor::optim {
namespace lists {
#include "optim/rules/Sgd-inl.h"
}
namespace {

struct SgdTraits {
  using Options = SGDOptions;
  template <class Real>
  using CoefficientsOf = SgdCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = "sgd";
  static constexpr std::size_t slot_count = 1;
  static constexpr bool has_step = false;

  static std::vector<Slot> slots(const Options& o) { return {{"momentum_buffer", o.momentum != 0}}; }
  static engine::Kernels kernels(const Options& o) { return o.momentum != 0 ? sgd_momentum_kernels() : sgd_kernels(); }

  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>&) {
    return {.grad_factor = 1,
            .weight_decay = o.weight_decay,
            .momentum = o.momentum,
            .input = choose(step == 1, 1.0, 1 - o.dampening),  // the first momentum is the gradient itself
            .nesterov = o.nesterov ? 1.0 : 0.0,
            .lr = o.lr};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* slots, const Options& o, const C& c) {
    if (o.momentum != 0) {
      lists::SgdMomentumRule::update(params, grads, slots, c);
    } else {
      lists::SgdRule::update(params, grads, slots, c);
    }
  }
  // Only the rows that have a gradient; the momentum is dense.
  static void sparse(const at::Tensor& param, const at::Tensor& given, ParamState& state, const Options& o,
                     const Coefficients& c) {
    if (o.weight_decay != 0)
      throw std::invalid_argument("sgd: weight_decay does not go with sparse gradients: set it to 0 for this group");
    const at::Tensor grad = c.grad_factor == 1 ? given : given * c.grad_factor;
    if (o.momentum == 0) {
      param.add_(grad, -o.lr);
      return;
    }
    state.slots[0].mul_(o.momentum).add_(grad, c.input);
    if (o.nesterov) param.add_(grad, -o.lr).add_(state.slots[0], -o.lr * o.momentum);
    if (!o.nesterov) param.add_(state.slots[0], -o.lr);
  }
  // With dampening the first momentum is another formula, and which step is the first a skipped one leaves open.
  static bool fuses(const Options& o) { return o.momentum == 0 || o.dampening == 0; }
  static void fused(Bucket& b, const Options& o, const Pass& pass) {
    const bool first = o.momentum != 0 && b.states.front()->step == 0;
    at::_fused_sgd_(b.params.tensors, b.grads.tensors, b.slots[0].tensors, o.weight_decay, o.momentum, o.lr,
                    o.dampening, o.nesterov, o.maximize, first, device_scale(b, pass), device_found_inf(pass));
    for (auto* state : b.states) ++state->step;
  }
};

}  // namespace

void SGDOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("momentum", momentum);
  fields.field("dampening", dampening);
  fields.field("weight_decay", weight_decay);
  fields.field("nesterov", nesterov);
  fields.field("maximize", maximize);
  storage.visit(fields);
}

void SGDOptions::check() const {
  at_least_0("sgd", "lr", lr);
  at_least_0("sgd", "momentum", momentum);
  at_least_0("sgd", "weight_decay", weight_decay);
  if (nesterov && (momentum <= 0 || dampening != 0))
    throw std::invalid_argument("sgd: nesterov wants momentum > 0 and dampening 0");
  storage.check("sgd");
}

std::unique_ptr<Method> make_method(const SGDOptions&) {
  return std::make_unique<Elementwise<SgdTraits>>();
}

template class OptimizerOf<SGDOptions>;

}  // namespace athanor::optim
