#include "athanor/optim/ScheduleFree.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "optim/Check.h"
#include "optim/Elementwise.h"
#include "optim/OptimizerOf.h"
#include "optim/rules/Coefficients.h"

namespace athanor::optim {
namespace lists {
#include "optim/rules/Modern-inl.h"
}
namespace {

// The newest z enters the average x with the share of its weight among all weights so far.
template <class Options, class Real>
Real share(const Options& o, const Real& step, std::vector<Real>& scalars, const Real& rate) {
  Real& weight_sum = scalars[0];
  Real& largest = scalars[1];
  largest = larger(largest, rate);
  const Real weight = power(step, o.r) * power(largest, o.weight_lr_power);
  weight_sum = weight_sum + weight;
  return choose(weight_sum > 0, weight / weight_sum, 0.0);
}

template <class Options, class Real>
Real warmed_up(const Options& o, const Real& step) {
  return o.lr * smaller(step / static_cast<double>(std::max<std::int64_t>(o.warmup_steps, 1)), 1.0);
}

template <class Options>
void refuse_averaged(const Options& o, const char* kind) {
  if (o.averaged)
    throw std::logic_error(std::string(kind) +
                           ": step after eval(): the parameters are the average; call train() first");
}

struct ScheduleFreeAdamwTraits {
  using Options = ScheduleFreeAdamWOptions;
  template <class Real>
  using CoefficientsOf = ScheduleFreeCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = "schedule_free_adamw";
  static constexpr std::size_t slot_count = 2;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options&) { return {{"z", true, 0, true}, {"exp_avg_sq"}}; }
  static std::vector<std::string> scalars() { return {"weight_sum", "lr_max"}; }
  static void initialise(ParamState& state, const at::Tensor& param, const Options&) {
    state.slots[0] = param.detach().clone(at::MemoryFormat::Preserve);
    state.scalars = {0, 0};
  }
  static double beta(const Options& o) { return o.betas[0]; }
  static engine::Kernels kernels(const Options&) { return schedule_free_adamw_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>& scalars) {
    refuse_averaged(o, kind);
    // The second moment's bias is corrected in the rate, so that it also counts in the average's weights.
    const Real rate = warmed_up(o, step) * square_root(1 - power(o.betas[1], step));
    const Real average = share(o, step, scalars, rate);
    return {.grad_factor = 1,
            .weight_decay = o.weight_decay,
            .beta2 = o.betas[1],
            .one_minus_beta2 = 1 - o.betas[1],
            .eps = o.eps,
            .average = average,
            .along = rate * (o.betas[0] * (1 - average) - 1),
            .step_size = rate};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options&, const C& c) {
    lists::ScheduleFreeAdamwRule::update(params, grads, s, c);
  }
};

struct ScheduleFreeSgdTraits {
  using Options = ScheduleFreeSGDOptions;
  template <class Real>
  using CoefficientsOf = ScheduleFreeCoefficientsOf<Real>;
  using Coefficients = CoefficientsOf<double>;
  static constexpr const char* kind = "schedule_free_sgd";
  static constexpr std::size_t slot_count = 1;
  static constexpr bool has_step = true;

  static std::vector<Slot> slots(const Options&) { return {{"z", true, 0, true}}; }
  static std::vector<std::string> scalars() { return {"weight_sum", "lr_max"}; }
  static void initialise(ParamState& state, const at::Tensor& param, const Options&) {
    state.slots[0] = param.detach().clone(at::MemoryFormat::Preserve);
    state.scalars = {0, 0};
  }
  static double beta(const Options& o) { return o.momentum; }
  static engine::Kernels kernels(const Options&) { return schedule_free_sgd_kernels(); }
  template <class Real>
  static CoefficientsOf<Real> coefficients(const Options& o, const Real& step, std::vector<Real>& scalars) {
    refuse_averaged(o, kind);
    const Real rate = warmed_up(o, step);
    const Real average = share(o, step, scalars, rate);
    return {.grad_factor = 1,
            .weight_decay = o.weight_decay,
            .beta2 = 0,
            .one_minus_beta2 = 0,
            .eps = 0,
            .average = average,
            .along = rate * (o.momentum * (1 - average) - 1),
            .step_size = rate};
  }
  template <class C>
  static void update(lists::Lists& params, lists::Lists& grads, lists::Lists* s, const Options&, const C& c) {
    lists::ScheduleFreeSgdRule::update(params, grads, s, c);
  }
};

// y = (1 - beta) z + beta x, so x = y + (1 - 1 / beta) (z - y), and back.
template <class Traits>
class ScheduleFree final : public Elementwise<Traits> {
 public:
  void set_averaged(Group& group, AnyOptions& any, bool averaged) override {
    auto& options = static_cast<GroupOptions<typename Traits::Options>&>(any).value;
    if (options.averaged == averaged) return;
    options.averaged = averaged;
    const double beta = Traits::beta(options);
    for (const auto& entry : group.entries) {
      if (entry.state == nullptr) continue;
      const void* key = entry.param.unsafeGetTensorImpl();
      if (averaged) {
        training_[key] = entry.param.detach().clone(at::MemoryFormat::Preserve);
        entry.param.lerp_(entry.state->slots[0], 1 - 1 / beta);
      } else if (const auto kept = training_.find(key); kept != training_.end()) {
        entry.param.copy_(kept->second);
        training_.erase(kept);
      } else {  // averaged by a process that is gone
        entry.param.lerp_(entry.state->slots[0], 1 - beta);
      }
    }
  }

 private:
  std::unordered_map<const void*, at::Tensor>
      training_;  // y while the parameters are x, so that it comes back to the bit
};

}  // namespace

void ScheduleFreeAdamWOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("betas", betas);
  fields.field("eps", eps);
  fields.field("weight_decay", weight_decay);
  fields.field("warmup_steps", warmup_steps);
  fields.field("r", r);
  fields.field("weight_lr_power", weight_lr_power);
  fields.field("maximize", maximize);
  fields.field("averaged", averaged);
}

void ScheduleFreeAdamWOptions::check() const {
  constexpr const char* kind = "schedule_free_adamw";
  at_least_0(kind, "lr", lr);
  check_betas(kind, betas);
  require(betas[0] > 0, kind, "betas[0]", "in (0, 1)", betas[0]);
  at_least_0(kind, "eps", eps);
  at_least_0(kind, "weight_decay", weight_decay);
  at_least_0(kind, "warmup_steps", static_cast<double>(warmup_steps));
}

void ScheduleFreeSGDOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("momentum", momentum);
  fields.field("weight_decay", weight_decay);
  fields.field("warmup_steps", warmup_steps);
  fields.field("r", r);
  fields.field("weight_lr_power", weight_lr_power);
  fields.field("maximize", maximize);
  fields.field("averaged", averaged);
}

void ScheduleFreeSGDOptions::check() const {
  constexpr const char* kind = "schedule_free_sgd";
  at_least_0(kind, "lr", lr);
  require(momentum > 0 && momentum < 1, kind, "momentum", "in (0, 1)", momentum);
  at_least_0(kind, "weight_decay", weight_decay);
  at_least_0(kind, "warmup_steps", static_cast<double>(warmup_steps));
}

std::unique_ptr<Method> make_method(const ScheduleFreeAdamWOptions&) {
  return std::make_unique<ScheduleFree<ScheduleFreeAdamwTraits>>();
}
std::unique_ptr<Method> make_method(const ScheduleFreeSGDOptions&) {
  return std::make_unique<ScheduleFree<ScheduleFreeSgdTraits>>();
}

template class OptimizerOf<ScheduleFreeAdamWOptions>;
template class OptimizerOf<ScheduleFreeSGDOptions>;

}  // namespace athanor::optim
