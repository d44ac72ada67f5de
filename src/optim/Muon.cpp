#include "athanor/optim/Muon.h"

#include <cmath>

#include "athanor/optim/Adam.h"
#include "optim/Check.h"
#include "optim/OptimizerOf.h"
#include "optim/PerTensor.h"

namespace athanor::optim {

std::unique_ptr<Method> make_method(const AdamWOptions&);

namespace {

constexpr std::size_t adamw_slots = 7;  // three, three scales, compensation: what AdamW's own state has
constexpr std::size_t momentum_slot = adamw_slots;

// The nearest matrix with singular values near 1, in bfloat16: five steps of a polynomial that lifts small singular
// values fast and leaves them between about 0.7 and 1.2.
at::Tensor orthogonal(const at::Tensor& matrix, const MuonOptions& o) {
  const auto& [a, b, c] = o.ns_coefficients;
  const bool tall = matrix.size(0) > matrix.size(1);
  at::Tensor x = matrix.to(at::kBFloat16, /*non_blocking=*/false, /*copy=*/true);
  if (tall) x = x.t();
  x.div_(x.norm().clamp_min(o.eps));
  for (std::int64_t i = 0; i < o.ns_steps; ++i) {
    const at::Tensor gram = x.matmul(x.t());
    x = at::addmm(x, at::addmm(gram, gram, gram, b, c), x, a);
  }
  return tall ? x.t() : x;
}

double adjusted_rate(const MuonOptions& o, const at::Tensor& param) {
  const auto rows = static_cast<double>(param.size(0));
  const auto columns = static_cast<double>(param.size(1));
  if (o.adjust_lr_fn == "original") return o.lr * std::sqrt(std::max(1.0, rows / columns));
  if (o.adjust_lr_fn == "match_rms_adamw") return o.lr * 0.2 * std::sqrt(std::max(rows, columns));
  if (o.adjust_lr_fn == "spectral_unclamped") return o.lr * std::sqrt(rows / columns);
  return o.lr;
}

struct MuonTraits {
  using Options = MuonOptions;
  static constexpr const char* kind = "muon";
  static constexpr bool has_step = false;
  static constexpr bool takes_sparse = false;

  static std::vector<Slot> slots(const Options& o) {
    return {{"exp_avg", o.adamw},      {"exp_avg_sq", o.adamw},      {"max_exp_avg_sq", false},
            {"exp_avg_absmax", false}, {"exp_avg_sq_absmax", false}, {"max_exp_avg_sq_absmax", false},
            {"compensation", false},   {"momentum_buffer", !o.adamw}};
  }
  static void initialise(ParamState&, const at::Tensor& param, const Options& o) {
    if (!o.adamw && param.dim() != 2)
      throw std::invalid_argument(fmt::format(
          "muon: a parameter has {} dimensions; muon is for matrices: put it into a group with adamw = true",
          param.dim()));
  }
  template <class Real>
  static void update(const at::Tensor& param, const at::Tensor& grad, ParamState& state, const Options& o,
                     const Real&) {
    at::Tensor& buffer = state.slots[momentum_slot];
    buffer.lerp_(grad, 1 - o.momentum);
    const at::Tensor direction = orthogonal(o.nesterov ? grad.lerp(buffer, o.momentum) : buffer, o);
    param.mul_(1 - o.lr * o.weight_decay);
    param.add_(direction, -adjusted_rate(o, param));
  }
};

class MuonMethod final : public PerTensor<MuonTraits> {
 public:
  void step(Group& group, AnyOptions& any, const Pass& pass) override {
    const MuonOptions& o = of(any);
    if (!o.adamw) return PerTensor::step(group, any, pass);
    GroupOptions<AdamWOptions> options(AdamWOptions{.lr = o.lr,
                                                    .betas = o.adamw_betas,
                                                    .eps = o.adamw_eps,
                                                    .weight_decay = o.weight_decay,
                                                    .maximize = o.maximize});
    adamw_->step(group, options, pass);
  }

 private:
  std::unique_ptr<Method> adamw_ = make_method(AdamWOptions{});
};

}  // namespace

void MuonOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("weight_decay", weight_decay);
  fields.field("momentum", momentum);
  fields.field("nesterov", nesterov);
  fields.field("ns_coefficients", ns_coefficients);
  fields.field("eps", eps);
  fields.field("ns_steps", ns_steps);
  fields.field("adjust_lr_fn", adjust_lr_fn);
  fields.field("maximize", maximize);
  fields.field("adamw", adamw);
  fields.field("adamw_betas", adamw_betas);
  fields.field("adamw_eps", adamw_eps);
}

void MuonOptions::check() const {
  constexpr const char* kind = "muon";
  at_least_0(kind, "lr", lr);
  at_least_0(kind, "weight_decay", weight_decay);
  at_least_0(kind, "momentum", momentum);
  at_least_0(kind, "eps", eps);
  require(ns_steps >= 0 && ns_steps < 100, kind, "ns_steps", "in 0 … 99", static_cast<double>(ns_steps));
  check_betas(kind, adamw_betas);
  at_least_0(kind, "adamw_eps", adamw_eps);
  if (adjust_lr_fn != "original" && adjust_lr_fn != "match_rms_adamw" && adjust_lr_fn != "spectral_unclamped" &&
      adjust_lr_fn != "none")
    throw std::invalid_argument(
        "muon: adjust_lr_fn must be original, match_rms_adamw, spectral_unclamped or none, got '" + adjust_lr_fn + "'");
}

std::unique_ptr<Method> make_method(const MuonOptions&) {
  return std::make_unique<MuonMethod>();
}

template class OptimizerOf<MuonOptions>;

}  // namespace athanor::optim
