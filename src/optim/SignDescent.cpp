#include "athanor/optim/SignDescent.h"

#include <algorithm>
#include <cmath>

#include "optim/Check.h"
#include "optim/Elementwise.h"
#include "optim/OptimizerOf.h"
#include "optim/rules/Coefficients.h"

namespace athanor::optim {
namespace lists {
#include "optim/rules/Adaptive-inl.h"
#include "optim/rules/Modern-inl.h"
}  // namespace lists
namespace {

struct LionTraits {
  using Options = LionOptions;
  template <class Real>
  using CoefficientsOf = LionCoefficients;
  using Coefficients = LionCoefficients;
  static constexpr const char* kind = "lion";
  static constexpr std::size_t slot_count = 1;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options&) { return {{"exp_avg"}}; }
  static engine::Kernels kernels(const Options&) { return lion_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real&, std::vector<Real>&) {
    return {.grad_factor = 1,
            .shrink = 1 - o.lr * o.weight_decay,
            .one_minus_beta1 = 1 - o.betas[0],
            .one_minus_beta2 = 1 - o.betas[1],
            .lr = o.lr};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options&, const C& c) {
    lists::LionRule::update(params, grads, s, c);
  }
};

struct RpropTraits {
  using Options = RpropOptions;
  template <class Real>
  using CoefficientsOf = RpropCoefficients;
  using Coefficients = RpropCoefficients;
  static constexpr const char* kind = "rprop";
  static constexpr std::size_t slot_count = 2;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options& o) { return {{"prev"}, {"step_size", true, o.lr}}; }
  static engine::Kernels kernels(const Options&) { return rprop_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real&, std::vector<Real>&) {
    return {.grad_factor = 1,
            .eta_minus = o.etas[0],
            .eta_plus = o.etas[1],
            .step_min = o.step_sizes[0],
            .step_max = o.step_sizes[1]};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options&, const C& c) {
    lists::RpropRule::update(params, grads, s, c);
  }
};

struct AsgdTraits {
  using Options = ASGDOptions;
  template <class Real>
  using CoefficientsOf = AsgdCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = "asgd";
  static constexpr std::size_t slot_count = 1;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options&) { return {{"ax"}}; }
  static std::vector<std::string> scalars() { return {"eta", "mu"}; }
  static void initialise(ParamState& state, const at::Tensor&, const Options& o) { state.scalars = {o.lr, 1.0}; }
  static engine::Kernels kernels(const Options&) { return asgd_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>& scalars) {
    Real& eta = scalars[0];
    Real& mu = scalars[1];
    const CoefficientsOf<Real> c = {
        .grad_factor = 1, .weight_decay = o.weight_decay, .shrink = 1 - o.lambd * eta, .eta = eta, .mu = mu};
    eta = o.lr / power(1 + o.lambd * o.lr * step, o.alpha);
    mu = 1 / larger(step - o.t0, 1.0);
    return c;
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options&, const C& c) {
    lists::AsgdRule::update(params, grads, s, c);
  }
};

}  // namespace

void LionOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("betas", betas);
  fields.field("weight_decay", weight_decay);
  fields.field("maximize", maximize);
  storage.visit(fields);
}

void LionOptions::check() const {
  constexpr const char* kind = "lion";
  at_least_0(kind, "lr", lr);
  check_betas(kind, betas);
  at_least_0(kind, "weight_decay", weight_decay);
  storage.check(kind);
}

void RpropOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("etas", etas);
  fields.field("step_sizes", step_sizes);
  fields.field("maximize", maximize);
}

void RpropOptions::check() const {
  constexpr const char* kind = "rprop";
  at_least_0(kind, "lr", lr);
  require(etas[0] > 0 && etas[0] < 1, kind, "etas[0]", "in (0, 1)", etas[0]);
  require(etas[1] > 1, kind, "etas[1]", "> 1", etas[1]);
  require(step_sizes[0] >= 0 && step_sizes[0] <= step_sizes[1], kind, "step_sizes[0]", "in [0, step_sizes[1]]",
          step_sizes[0]);
}

void ASGDOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("lambd", lambd);
  fields.field("alpha", alpha);
  fields.field("t0", t0);
  fields.field("weight_decay", weight_decay);
  fields.field("maximize", maximize);
}

void ASGDOptions::check() const {
  constexpr const char* kind = "asgd";
  at_least_0(kind, "lr", lr);
  at_least_0(kind, "lambd", lambd);
  at_least_0(kind, "alpha", alpha);
  at_least_0(kind, "weight_decay", weight_decay);
}

std::unique_ptr<Method> make_method(const LionOptions&) {
  return std::make_unique<Elementwise<LionTraits>>();
}
std::unique_ptr<Method> make_method(const RpropOptions&) {
  return std::make_unique<Elementwise<RpropTraits>>();
}
std::unique_ptr<Method> make_method(const ASGDOptions&) {
  return std::make_unique<Elementwise<AsgdTraits>>();
}

template class OptimizerOf<LionOptions>;
template class OptimizerOf<RpropOptions>;
template class OptimizerOf<ASGDOptions>;

}  // namespace athanor::optim
