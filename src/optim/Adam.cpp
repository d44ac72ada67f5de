#include "athanor/optim/Adam.h"

#include "optim/Check.h"
#include "optim/Elementwise.h"
#include "optim/OptimizerOf.h"
#include "optim/rules/Coefficients.h"

namespace athanor::optim {
namespace lists {
#include "optim/rules/Adam-inl.h"
}
namespace {

template <class Options>
void visit_common(Options& o, Fields& fields) {
  fields.field("lr", o.lr);
  fields.field("betas", o.betas);
  fields.field("eps", o.eps);
  fields.field("weight_decay", o.weight_decay);
  fields.field("amsgrad", o.amsgrad);
  fields.field("maximize", o.maximize);
}

template <class Options>
void check_common(const Options& o, const char* kind) {
  at_least_0(kind, "lr", o.lr);
  check_betas(kind, o.betas);
  at_least_0(kind, "eps", o.eps);
  at_least_0(kind, "weight_decay", o.weight_decay);
  o.storage.check(kind);
}

bool decoupled(const AdamOptions& o) {
  return o.decoupled_weight_decay;
}
bool decoupled(const AdamWOptions&) {
  return true;
}

template <class Opt>
struct AdamTraits {
  using Options = Opt;
  template <class Real>
  using CoefficientsOf = AdamCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = std::is_same_v<Opt, AdamOptions> ? "adam" : "adamw";
  static constexpr std::size_t slot_count = 3;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options& o) {
    return {{"exp_avg"}, {"exp_avg_sq"}, {"max_exp_avg_sq", o.amsgrad}};
  }
  static engine::Kernels kernels(const Options& o) { return o.amsgrad ? adam_amsgrad_kernels() : adam_kernels(); }

  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>&) {
    const double decay = o.weight_decay;
    return {.grad_factor = 1,
            .weight_decay = decoupled(o) ? 0 : decay,
            .shrink = decoupled(o) ? 1 - o.lr * decay : 1,
            .one_minus_beta1 = 1 - o.betas[0],
            .beta2 = o.betas[1],
            .one_minus_beta2 = 1 - o.betas[1],
            .inverse_bias2_root = 1 / square_root(1 - power(o.betas[1], step)),
            .eps = o.eps,
            .step_size = o.lr / (1 - power(o.betas[0], step))};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* slots, const Options& o, const C& c) {
    if (o.amsgrad) {
      lists::AdamAmsgradRule::update(params, grads, slots, c);
    } else {
      lists::AdamRule::update(params, grads, slots, c);
    }
  }
  static void fused(Bucket& b, const Options& o, const Pass& pass) {
    const auto steps = device_steps(b);
    const auto kernel = decoupled(o) ? &at::_ops::_fused_adamw_::call : &at::_ops::_fused_adam_::call;
    kernel(b.params.tensors, b.grads.tensors, b.slots[0].tensors, b.slots[1].tensors, b.slots[2].tensors, steps, o.lr,
           o.betas[0], o.betas[1], o.weight_decay, o.eps, o.amsgrad, o.maximize, device_scale(b, pass),
           device_found_inf(pass));
    finish_steps(steps, pass);
  }
};

}  // namespace

void AdamOptions::visit(Fields& fields) {
  visit_common(*this, fields);
  fields.field("decoupled_weight_decay", decoupled_weight_decay);
  storage.visit(fields);
}
void AdamOptions::check() const {
  check_common(*this, "adam");
}
void AdamWOptions::visit(Fields& fields) {
  visit_common(*this, fields);
  storage.visit(fields);
}
void AdamWOptions::check() const {
  check_common(*this, "adamw");
}

std::unique_ptr<Method> make_method(const AdamOptions&) {
  return std::make_unique<Elementwise<AdamTraits<AdamOptions>>>();
}
std::unique_ptr<Method> make_method(const AdamWOptions&) {
  return std::make_unique<Elementwise<AdamTraits<AdamWOptions>>>();
}

template class OptimizerOf<AdamOptions>;
template class OptimizerOf<AdamWOptions>;

}  // namespace athanor::optim
