#include "athanor/optim/Adafactor.h"

#include <cmath>
#include <limits>

#include "optim/Check.h"
#include "optim/OptimizerOf.h"
#include "optim/PerTensor.h"

namespace athanor::optim {
namespace {

double epsilon_of(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return std::numeric_limits<double>::epsilon();
    case at::kHalf:
      return std::ldexp(1.0, -10);
    case at::kBFloat16:
      return std::ldexp(1.0, -7);
    default:
      return std::numeric_limits<float>::epsilon();
  }
}

// The mean of squares along a dimension, without a tensor of squares.
at::Tensor mean_square(const at::Tensor& grad, std::int64_t dim) {
  return at::linalg_vector_norm(grad, 2, dim, /*keepdim=*/true).square_().div_(grad.size(dim));
}

at::Tensor root_mean_square(const at::Tensor& tensor) {
  return tensor.norm(2) / std::sqrt(static_cast<double>(tensor.numel()));
}

void lerp_(at::Tensor& a, const at::Tensor& end, double weight) {
  a.lerp_(end, weight);
}
void lerp_(at::Tensor& a, const at::Tensor& end, const at::Tensor& weight) {
  a.lerp_(end, weight.to(a.scalar_type()));
}

struct AdafactorTraits {
  using Options = AdafactorOptions;
  static constexpr const char* kind = "adafactor";
  static constexpr bool has_step = true;
  static constexpr bool takes_sparse = false;

  static std::vector<Slot> slots(const Options&) {
    return {{"row_var", true, 0, true}, {"col_var", true, 0, true}, {"variance", true, 0, true}};
  }
  static void initialise(ParamState& state, const at::Tensor& param, const Options&) {
    const auto plain = param.options().requires_grad(false);
    if (param.dim() < 2) {
      state.slots[2] = at::zeros_like(param, plain, at::MemoryFormat::Preserve);
      return;
    }
    auto rows = param.sizes().vec();
    auto columns = rows;
    rows[rows.size() - 1] = 1;
    columns[columns.size() - 2] = 1;
    state.slots[0] = at::zeros(rows, plain);
    state.slots[1] = at::zeros(columns, plain);
  }

  template <class Real>
  static void update(const at::Tensor& param, const at::Tensor& grad, ParamState& state, const Options& o,
                     const Real& step) {
    const Real newest = power(step, o.beta2_decay);
    const double floor = std::isnan(o.eps[0]) ? epsilon_of(param.scalar_type()) : o.eps[0];
    const at::Tensor alpha = root_mean_square(param).clamp_min(o.eps[1]) * smaller(1 / square_root(step), o.lr);
    if (o.weight_decay != 0) param.mul_(1 - o.lr * o.weight_decay);
    at::Tensor variance;
    if (param.dim() > 1) {
      at::Tensor& rows = state.slots[0];
      at::Tensor& columns = state.slots[1];
      lerp_(rows, mean_square(grad, -1), newest);
      lerp_(columns, mean_square(grad, -2), newest);
      variance = rows.matmul(columns).div_(rows.mean(-2, /*keepdim=*/true).clamp_min_(floor));
    } else {
      lerp_(state.slots[2], grad * grad, newest);
      variance = state.slots[2].clone();
    }
    at::Tensor step_direction = variance.clamp_min_(floor * floor).rsqrt_().mul_(grad);
    const at::Tensor too_large = (root_mean_square(step_direction) / o.d).clamp_min(1.0);
    param.sub_(step_direction.mul_(alpha / too_large));
  }
};

}  // namespace

void AdafactorOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("beta2_decay", beta2_decay);
  fields.field("eps", eps);
  fields.field("d", d);
  fields.field("weight_decay", weight_decay);
  fields.field("maximize", maximize);
}

void AdafactorOptions::check() const {
  constexpr const char* kind = "adafactor";
  at_least_0(kind, "lr", lr);
  require(beta2_decay <= 0, kind, "beta2_decay", "<= 0", beta2_decay);
  if (!std::isnan(eps[0])) at_least_0(kind, "eps[0]", eps[0]);
  at_least_0(kind, "eps[1]", eps[1]);
  require(d >= 1, kind, "d", ">= 1", d);
  at_least_0(kind, "weight_decay", weight_decay);
}

std::unique_ptr<Method> make_method(const AdafactorOptions&) {
  return std::make_unique<PerTensor<AdafactorTraits>>();
}

template class OptimizerOf<AdafactorOptions>;

}  // namespace athanor::optim
