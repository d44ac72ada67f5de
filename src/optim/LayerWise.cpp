#include "athanor/optim/LayerWise.h"

#include <cmath>

#include "optim/Check.h"
#include "optim/Elementwise.h"
#include "optim/OptimizerOf.h"
#include "optim/rules/Coefficients.h"

namespace athanor::optim {
namespace {

using lists::Lists;

// All of these need norms or means of whole tensors, so they run on LibTorch's operators on every device.
engine::Kernels no_kernels() {
  return {};
}

template <class Real>
struct NormCoefficientsOf {
  double grad_factor;
  Real bias1, bias2_root;
};

template <class Options, class Real>
NormCoefficientsOf<Real> bias_corrections(const Options& o, const Real& step) {
  return {
      .grad_factor = 1, .bias1 = 1 - power(o.betas[0], step), .bias2_root = square_root(1 - power(o.betas[1], step))};
}

struct FactorOnly {
  double grad_factor;
};

struct LambTraits {
  using Options = LAMBOptions;
  template <class Real>
  using CoefficientsOf = NormCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = "lamb";
  static constexpr std::size_t slot_count = 2;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options&) { return {{"exp_avg"}, {"exp_avg_sq"}}; }
  static engine::Kernels kernels(const Options&) { return no_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>&) {
    return bias_corrections(o, step);
  }
  template <class C>
  static void update(Lists& params, Lists& grads, Lists* s, const Options& o, const C& c) {
    lerp_(s[0], grads, 1 - o.betas[0]);
    mul_(s[1], o.betas[1]);
    addcmul_(s[1], grads, grads, 1 - o.betas[1]);
    Lists size = root(s[1]);
    div_(size, c.bias2_root);
    add_(size, o.eps);
    Lists direction = copy(s[0]);
    div_(direction, c.bias1);
    div_(direction, size);
    if (o.weight_decay != 0) add_(direction, params, o.weight_decay);
    // The norms stay on the device; where one is 0 the step is Adam's own.
    const auto weights = at::stack(at::_foreach_norm(params.tensors));
    const auto steps = at::stack(at::_foreach_norm(direction.tensors));
    const auto trust = at::where(at::logical_and(weights > 0, steps > 0), weights / steps, at::ones_like(weights));
    mul_(direction, Lists{trust.unbind()});
    add_(params, direction, -o.lr);
  }
};

struct LarsTraits {
  using Options = LARSOptions;
  template <class Real>
  using CoefficientsOf = FactorOnly;
  using Coefficients = FactorOnly;
  static constexpr const char* kind = "lars";
  static constexpr std::size_t slot_count = 1;
  static constexpr bool has_step = false;

  static std::vector<Slot> slots(const Options&) { return {{"momentum_buffer"}}; }
  static engine::Kernels kernels(const Options&) { return no_kernels(); }
  template <class Real>
  static FactorOnly coefficients(const Options&, const Real&, std::vector<Real>&) {
    return {1};
  }
  template <class C>
  static void update(Lists& params, Lists& grads, Lists* s, const Options& o, const C&) {
    const auto weights = at::stack(at::_foreach_norm(params.tensors));
    const auto slopes = at::stack(at::_foreach_norm(grads.tensors));
    const auto scaled = weights * o.trust_coefficient / (slopes + weights * o.weight_decay + o.eps);
    const auto rate = at::where(at::logical_and(weights > 0, slopes > 0), scaled, at::ones_like(weights));
    if (o.weight_decay != 0) add_(grads, params, o.weight_decay);
    mul_(grads, Lists{rate.mul(o.lr).unbind()});
    mul_(s[0], o.momentum);
    add_(s[0], grads, 1);
    add_(params, s[0], -1);
  }
};

struct AdamMiniTraits {
  using Options = AdamMiniOptions;
  template <class Real>
  using CoefficientsOf = NormCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = "adam_mini";
  static constexpr std::size_t slot_count = 2;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options&) { return {{"exp_avg"}, {"exp_avg_sq", true, 0, true}}; }
  static void initialise(ParamState& state, const at::Tensor& param, const Options&) {
    std::vector<std::int64_t> blocks(static_cast<std::size_t>(param.dim()), 1);
    if (param.dim() > 1) blocks[0] = param.size(0);
    state.slots[1] = at::zeros(blocks, param.options().requires_grad(false));
  }
  static engine::Kernels kernels(const Options&) { return no_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>&) {
    return bias_corrections(o, step);
  }
  template <class C>
  static void update(Lists& params, Lists& grads, Lists* s, const Options& o, const C& c) {
    if (o.weight_decay != 0) mul_(params, 1 - o.lr * o.weight_decay);
    lerp_(s[0], grads, 1 - o.betas[0]);
    Lists means;
    for (std::size_t i = 0; i < grads.tensors.size(); ++i) {
      const at::Tensor& grad = grads.tensors[i];
      std::vector<std::int64_t> within;
      for (std::int64_t d = grad.dim() > 1 ? 1 : 0; d < grad.dim(); ++d) within.push_back(d);
      means.tensors.push_back(within.empty() ? grad.square() : grad.square().mean(within, /*keepdim=*/true));
    }
    lerp_(s[1], means, 1 - o.betas[1]);
    Lists size = root(s[1]);
    div_(size, c.bias2_root);
    add_(size, o.eps);
    for (std::size_t i = 0; i < params.tensors.size(); ++i)
      if (params.tensors[i].numel() > 0) {
        Lists param{{params.tensors[i]}};
        addcdiv_(param, Lists{{s[0].tensors[i]}}, Lists{{size.tensors[i]}}, -o.lr / c.bias1);
      }
  }
};

}  // namespace

void LAMBOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("betas", betas);
  fields.field("eps", eps);
  fields.field("weight_decay", weight_decay);
  fields.field("maximize", maximize);
}

void LAMBOptions::check() const {
  constexpr const char* kind = "lamb";
  at_least_0(kind, "lr", lr);
  check_betas(kind, betas);
  at_least_0(kind, "eps", eps);
  at_least_0(kind, "weight_decay", weight_decay);
}

void LARSOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("momentum", momentum);
  fields.field("weight_decay", weight_decay);
  fields.field("trust_coefficient", trust_coefficient);
  fields.field("eps", eps);
  fields.field("maximize", maximize);
}

void LARSOptions::check() const {
  constexpr const char* kind = "lars";
  at_least_0(kind, "lr", lr);
  at_least_0(kind, "momentum", momentum);
  at_least_0(kind, "weight_decay", weight_decay);
  require(trust_coefficient > 0, kind, "trust_coefficient", "> 0", trust_coefficient);
  at_least_0(kind, "eps", eps);
}

void AdamMiniOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("betas", betas);
  fields.field("eps", eps);
  fields.field("weight_decay", weight_decay);
  fields.field("maximize", maximize);
}

void AdamMiniOptions::check() const {
  constexpr const char* kind = "adam_mini";
  at_least_0(kind, "lr", lr);
  check_betas(kind, betas);
  at_least_0(kind, "eps", eps);
  at_least_0(kind, "weight_decay", weight_decay);
}

std::unique_ptr<Method> make_method(const LAMBOptions&) {
  return std::make_unique<Elementwise<LambTraits>>();
}
std::unique_ptr<Method> make_method(const LARSOptions&) {
  return std::make_unique<Elementwise<LarsTraits>>();
}
std::unique_ptr<Method> make_method(const AdamMiniOptions&) {
  return std::make_unique<Elementwise<AdamMiniTraits>>();
}

template class OptimizerOf<LAMBOptions>;
template class OptimizerOf<LARSOptions>;
template class OptimizerOf<AdamMiniOptions>;

}  // namespace athanor::optim
