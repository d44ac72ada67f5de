#include "athanor/optim/AdamVariants.h"

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

struct AdamaxTraits {
  using Options = AdamaxOptions;
  template <class Real>
  using CoefficientsOf = AdamaxCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = "adamax";
  static constexpr std::size_t slot_count = 2;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options&) { return {{"exp_avg"}, {"exp_inf"}}; }
  static engine::Kernels kernels(const Options&) { return adamax_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>&) {
    return {.grad_factor = 1,
            .weight_decay = o.weight_decay,
            .one_minus_beta1 = 1 - o.betas[0],
            .beta2 = o.betas[1],
            .eps = o.eps,
            .step_size = o.lr / (1 - power(o.betas[0], step))};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options&, const C& c) {
    lists::AdamaxRule::update(params, grads, s, c);
  }
};

struct NadamTraits {
  using Options = NAdamOptions;
  template <class Real>
  using CoefficientsOf = NadamCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = "nadam";
  static constexpr std::size_t slot_count = 2;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options&) { return {{"exp_avg"}, {"exp_avg_sq"}}; }
  static std::vector<std::string> scalars() { return {"mu_product"}; }
  static void initialise(ParamState& state, const at::Tensor&, const Options&) { state.scalars = {1.0}; }
  static engine::Kernels kernels(const Options&) { return nadam_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>& scalars) {
    const auto mu_at = [&](const Real& t) -> Real {
      return o.betas[0] * (1 - 0.5 * power(0.96, t * o.momentum_decay));
    };
    const Real mu = mu_at(step);
    const Real mu_next = mu_at(step + 1);
    Real& mu_product = scalars[0];
    mu_product = mu_product * mu;
    return {.grad_factor = 1,
            .weight_decay = o.decoupled_weight_decay ? 0 : o.weight_decay,
            .shrink = o.decoupled_weight_decay ? 1 - o.lr * o.weight_decay : 1,
            .one_minus_beta1 = 1 - o.betas[0],
            .beta2 = o.betas[1],
            .one_minus_beta2 = 1 - o.betas[1],
            .bias2 = 1 - power(o.betas[1], step),
            .eps = o.eps,
            .grad_step = o.lr * (1 - mu) / (1 - mu_product),
            .momentum_step = o.lr * mu_next / (1 - mu_product * mu_next)};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options&, const C& c) {
    lists::NadamRule::update(params, grads, s, c);
  }
};

struct RadamTraits {
  using Options = RAdamOptions;
  template <class Real>
  using CoefficientsOf = RadamCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = "radam";
  static constexpr std::size_t slot_count = 2;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options&) { return {{"exp_avg"}, {"exp_avg_sq"}}; }
  static engine::Kernels kernels(const Options&) { return radam_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>&) {
    const Real beta2_power = power(o.betas[1], step);
    // The length of the simple average that the moving one amounts to; below 5 its variance has no bound.
    const double longest = 2 / (1 - o.betas[1]) - 1;
    const Real length = longest - 2 * step * beta2_power / (1 - beta2_power);
    const Real rectification =
        square_root((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
    return {.grad_factor = 1,
            .weight_decay = o.decoupled_weight_decay ? 0 : o.weight_decay,
            .shrink = o.decoupled_weight_decay ? 1 - o.lr * o.weight_decay : 1,
            .one_minus_beta1 = 1 - o.betas[0],
            .beta2 = o.betas[1],
            .one_minus_beta2 = 1 - o.betas[1],
            .bias1 = 1 - power(o.betas[0], step),
            .lr = o.lr,
            .eps = o.eps,
            .bias2_root = square_root(1 - beta2_power),
            .rectified = choose(length > 5, rectification, 0.0)};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options&, const C& c) {
    if constexpr (std::is_same_v<C, Coefficients>) {
      lists::RadamRule::update(params, grads, s, c);
    } else {
      update_on_device(params, grads, s, c);
    }
  }

 private:
  // What the rule asks of a number is here asked of a tensor: where the step is not rectified, the factor is 1.
  template <class C>
  static void update_on_device(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const C& c) {
    if (c.shrink != 1) mul_(params, c.shrink);
    if (c.weight_decay != 0) add_(grads, params, c.weight_decay);
    lerp_(s[0], grads, c.one_minus_beta1);
    mul_(s[1], c.beta2);
    addcmul_(s[1], grads, grads, c.one_minus_beta2);
    lists::Lists size = root(s[1]);
    add_(size, c.eps);
    lists::Lists factor = quotient(c.bias2_root * c.rectified, size);
    at::_foreach_add_(factor.tensors, like(c.rectified.eq(0), factor));
    mul_(factor, s[0]);
    add_(params, factor, -c.lr / c.bias1);
  }
};

struct AdemamixTraits {
  using Options = AdEMAMixOptions;
  template <class Real>
  using CoefficientsOf = AdemamixCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = "ademamix";
  static constexpr std::size_t slot_count = 3;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options&) { return {{"exp_avg"}, {"exp_avg_slow"}, {"exp_avg_sq"}}; }
  static engine::Kernels kernels(const Options&) { return ademamix_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>&) {
    const Real part = o.warmup_steps > 0 ? smaller(step / static_cast<double>(o.warmup_steps), 1.0) : step * 0 + 1;
    return {.grad_factor = 1,
            .shrink = 1 - o.lr * o.weight_decay,
            .one_minus_beta1 = 1 - o.betas[0],
            .beta2 = o.betas[1],
            .one_minus_beta2 = 1 - o.betas[1],
            .one_minus_beta3 = 1 - slow_beta(o, part),
            .bias1 = 1 - power(o.betas[0], step),
            .bias2_root = square_root(1 - power(o.betas[1], step)),
            .eps = o.eps,
            .alpha = o.alpha * part,
            .lr = o.lr};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options&, const C& c) {
    lists::AdemamixRule::update(params, grads, s, c);
  }

 private:
  // So that the half-life, which is about ln 2 / -ln beta, grows linearly from betas[0]'s to betas[2]'s.
  template <class Real>
  static Real slow_beta(const Options& o, const Real& part) {
    if (o.warmup_steps <= 0 || o.betas[0] <= 0 || o.betas[2] <= 0) return part * 0 + o.betas[2];
    const double start = std::log(o.betas[0]);
    const double end = std::log(o.betas[2]);
    const Real growing = power_of_e(start * end / ((1 - part) * end + part * start));
    return choose(part >= 1, o.betas[2], smaller(growing, o.betas[2]));
  }
};

}  // namespace

void AdamaxOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("betas", betas);
  fields.field("eps", eps);
  fields.field("weight_decay", weight_decay);
  fields.field("maximize", maximize);
}

void AdamaxOptions::check() const {
  constexpr const char* kind = "adamax";
  at_least_0(kind, "lr", lr);
  check_betas(kind, betas);
  at_least_0(kind, "eps", eps);
  at_least_0(kind, "weight_decay", weight_decay);
}

void NAdamOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("betas", betas);
  fields.field("eps", eps);
  fields.field("weight_decay", weight_decay);
  fields.field("momentum_decay", momentum_decay);
  fields.field("decoupled_weight_decay", decoupled_weight_decay);
  fields.field("maximize", maximize);
}

void NAdamOptions::check() const {
  constexpr const char* kind = "nadam";
  at_least_0(kind, "lr", lr);
  check_betas(kind, betas);
  at_least_0(kind, "eps", eps);
  at_least_0(kind, "weight_decay", weight_decay);
  at_least_0(kind, "momentum_decay", momentum_decay);
}

void RAdamOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("betas", betas);
  fields.field("eps", eps);
  fields.field("weight_decay", weight_decay);
  fields.field("decoupled_weight_decay", decoupled_weight_decay);
  fields.field("maximize", maximize);
}

void RAdamOptions::check() const {
  constexpr const char* kind = "radam";
  at_least_0(kind, "lr", lr);
  check_betas(kind, betas);
  at_least_0(kind, "eps", eps);
  at_least_0(kind, "weight_decay", weight_decay);
}

void AdEMAMixOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("betas", betas);
  fields.field("alpha", alpha);
  fields.field("eps", eps);
  fields.field("weight_decay", weight_decay);
  fields.field("warmup_steps", warmup_steps);
  fields.field("maximize", maximize);
}

void AdEMAMixOptions::check() const {
  constexpr const char* kind = "ademamix";
  at_least_0(kind, "lr", lr);
  check_betas(kind, betas);
  at_least_0(kind, "alpha", alpha);
  at_least_0(kind, "eps", eps);
  at_least_0(kind, "weight_decay", weight_decay);
  at_least_0(kind, "warmup_steps", static_cast<double>(warmup_steps));
}

std::unique_ptr<Method> make_method(const AdamaxOptions&) {
  return std::make_unique<Elementwise<AdamaxTraits>>();
}
std::unique_ptr<Method> make_method(const NAdamOptions&) {
  return std::make_unique<Elementwise<NadamTraits>>();
}
std::unique_ptr<Method> make_method(const RAdamOptions&) {
  return std::make_unique<Elementwise<RadamTraits>>();
}
std::unique_ptr<Method> make_method(const AdEMAMixOptions&) {
  return std::make_unique<Elementwise<AdemamixTraits>>();
}

template class OptimizerOf<AdamaxOptions>;
template class OptimizerOf<NAdamOptions>;
template class OptimizerOf<RAdamOptions>;
template class OptimizerOf<AdEMAMixOptions>;

}  // namespace athanor::optim
