#include "athanor/optim/LBFGS.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <stdexcept>

#include "optim/Check.h"
#include "optim/LineSearch.h"
#include "optim/Method.h"
#include "optim/OptimizerOf.h"

namespace athanor::optim {
namespace {

enum SlotIndex : std::size_t { direction, old_dirs, old_stps, ro, prev_flat_grad, slot_count };
enum ScalarIndex : std::size_t { func_evals, n_iter, last_t, h_diag, prev_loss, scalar_count };

double largest(const at::Tensor& tensor) {
  return tensor.numel() == 0 ? 0 : tensor.abs().max().item<double>();
}

double inner_product(const at::Tensor& a, const at::Tensor& b) {
  return a.dot(b).item<double>();
}

// All parameters as one vector.
class Vector {
 public:
  Vector(std::vector<at::Tensor> params, double sign) : params_(std::move(params)), sign_(sign) {}

  at::Tensor grad() const {
    std::vector<at::Tensor> parts;
    for (const auto& param : params_) {
      at::Tensor part = grad_of(param);
      if (!part.defined()) part = at::zeros_like(param);
      if (part.is_sparse()) part = part.to_dense();
      parts.push_back(real(part).reshape({-1}));
    }
    const at::Tensor all = at::cat(parts);
    return sign_ < 0 ? all.neg() : all;
  }
  void add(double t, const at::Tensor& along) {
    std::int64_t offset = 0;
    for (const auto& param : params_) {
      const at::Tensor own = real(param);
      own.add_(along.narrow(0, offset, own.numel()).view_as(own), t);
      offset += own.numel();
    }
  }
  std::vector<at::Tensor> clone() const {
    std::vector<at::Tensor> copies;
    for (const auto& param : params_) copies.push_back(param.detach().clone());
    return copies;
  }
  void set(const std::vector<at::Tensor>& values) {
    for (std::size_t i = 0; i < params_.size(); ++i) params_[i].copy_(values[i]);
  }

 private:
  static at::Tensor real(const at::Tensor& tensor) { return tensor.is_complex() ? at::view_as_real(tensor) : tensor; }
  std::vector<at::Tensor> params_;
  double sign_;
};

// The last steps s and changes of the gradient y: what is known of the curvature.
class History {
 public:
  History() = default;
  explicit History(const ParamState& state) {
    if (!state.slots[old_dirs].defined()) return;
    const auto changes = state.slots[old_dirs].unbind();
    const auto steps = state.slots[old_stps].unbind();
    for (std::size_t i = 0; i < changes.size(); ++i)
      pairs_.push_back({changes[i], steps[i], state.slots[ro][static_cast<std::int64_t>(i)].item<double>()});
  }
  void save(ParamState& state, const at::Tensor& like) const {
    std::vector<at::Tensor> changes;
    std::vector<at::Tensor> steps;
    std::vector<double> inverse;
    for (const auto& pair : pairs_) {
      changes.push_back(pair.change);
      steps.push_back(pair.step);
      inverse.push_back(pair.inverse);
    }
    const at::Tensor none = at::zeros({0, like.numel()}, like.options());
    state.slots[old_dirs] = changes.empty() ? none : at::stack(changes);
    state.slots[old_stps] = steps.empty() ? none : at::stack(steps);
    state.slots[ro] = at::tensor(inverse, at::kDouble).to(like.options());
  }
  void add(const at::Tensor& change, const at::Tensor& step, double product, std::int64_t most) {
    if (static_cast<std::int64_t>(pairs_.size()) == most) pairs_.pop_front();
    pairs_.push_back({change, step, 1 / product});
  }
  // Minus the inverse Hessian times the gradient: the two-loop recursion.
  at::Tensor newton_direction(const at::Tensor& grad, double diagonal) const {
    std::vector<double> alpha(pairs_.size());
    at::Tensor q = grad.neg();
    for (std::size_t i = pairs_.size(); i-- > 0;) {
      alpha[i] = inner_product(pairs_[i].step, q) * pairs_[i].inverse;
      q.add_(pairs_[i].change, -alpha[i]);
    }
    q.mul_(diagonal);
    for (std::size_t i = 0; i < pairs_.size(); ++i)
      q.add_(pairs_[i].step, alpha[i] - inner_product(pairs_[i].change, q) * pairs_[i].inverse);
    return q;
  }

 private:
  struct Pair {
    at::Tensor change;
    at::Tensor step;
    double inverse;
  };
  std::deque<Pair> pairs_;
};

class LbfgsMethod final : public Method {
 public:
  [[nodiscard]] const char* kind() const override { return "lbfgs"; }
  [[nodiscard]] bool has_step() const override { return false; }
  [[nodiscard]] std::vector<Slot> slots(const AnyOptions&) const override {
    return {{"d", true, 0, true, true},
            {"old_dirs", true, 0, true, true},
            {"old_stps", true, 0, true, true},
            {"ro", true, 0, true, true},
            {"prev_flat_grad", true, 0, true, true}};
  }
  [[nodiscard]] std::vector<std::string> scalars() const override {
    return {"func_evals", "n_iter", "t", "H_diag", "prev_loss"};
  }
  void initialise(ParamState& state, const at::Tensor&, const AnyOptions&) const override {
    state.scalars.assign(scalar_count, 0);
    state.scalars[h_diag] = 1;
  }
  void step(Group&, AnyOptions&, const Pass&) override {
    throw std::invalid_argument(
        "lbfgs: step wants a closure that clears gradients, computes the loss and its gradients, and "
        "returns the loss; it does not go with a gradient scaler");
  }
  bool step_closure(torch::optim::Optimizer& optimizer, const torch::optim::Optimizer::LossClosure& closure,
                    at::Tensor& loss) override;

 private:
  struct Run;
};

// One step: up to max_iter iterations.
struct LbfgsMethod::Run {
  const LBFGSOptions& o;
  const torch::optim::Optimizer::LossClosure& closure;
  ParamState& state;
  Vector x;
  double sign;
  History history;
  std::int64_t evaluations = 0;
  at::Tensor grad = {};
  double loss = 0;

  double& scalar(ScalarIndex i) { return state.scalars[i]; }

  at::Tensor evaluate() {
    at::Tensor value;
    {
      const at::AutoGradMode enable(true);
      value = closure();
    }
    loss = sign * value.item<double>();
    grad = x.grad();
    ++evaluations;
    return value;
  }

  // The new direction, from the gradient here and at the last step's start.
  void find_direction() {
    at::Tensor& d = state.slots[direction];
    if (++scalar(n_iter) == 1) {
      d = grad.neg();
      history = History();
      scalar(h_diag) = 1;
      return;
    }
    const at::Tensor change = grad.sub(state.slots[prev_flat_grad]);
    const at::Tensor step = d.mul(scalar(last_t));
    const double product = inner_product(change, step);
    if (product > 1e-10) {
      history.add(change, step, product, o.history_size);
      scalar(h_diag) = product / inner_product(change, change);
    }
    d = history.newton_direction(grad, scalar(h_diag));
  }

  // Moves along the direction; false where the slope is too small to go on.
  bool move(std::int64_t iteration, std::int64_t max_eval) {
    const at::Tensor& d = state.slots[direction];
    state.slots[prev_flat_grad] = grad.clone();
    scalar(prev_loss) = loss;
    double t = o.lr;
    if (scalar(n_iter) == 1) t *= std::min(1.0, 1 / grad.abs().sum().item<double>());
    scalar(last_t) = t;
    const double slope = inner_product(grad, d);
    if (slope > -o.tolerance_change) return false;
    if (o.line_search_fn.empty()) {
      x.add(t, d);
      if (iteration != o.max_iter) evaluate();
      return true;
    }
    const auto start = x.clone();
    const auto at_distance = [&](double distance) {
      x.add(distance, d);
      evaluate();
      x.set(start);
      return LinePoint{.at = distance, .loss = loss, .grad = grad.clone(), .slope = inner_product(grad, d)};
    };
    const std::int64_t before = evaluations;
    const LinePoint here{.at = 0, .loss = loss, .grad = grad.clone(), .slope = slope};
    const auto found = strong_wolfe(at_distance, here, t, largest(d), o.tolerance_change, max_eval - before);
    loss = found.point.loss;
    grad = found.point.grad;
    scalar(last_t) = found.point.at;
    x.add(found.point.at, d);
    return true;
  }

  void run() {
    const std::int64_t max_eval = o.max_eval < 0 ? o.max_iter * 5 / 4 : o.max_eval;
    for (std::int64_t iteration = 1; iteration <= o.max_iter; ++iteration) {
      find_direction();
      if (!move(iteration, max_eval)) break;
      if (iteration == o.max_iter || evaluations >= max_eval) break;
      if (largest(grad) <= o.tolerance_grad) break;
      if (largest(state.slots[direction].mul(scalar(last_t))) <= o.tolerance_change) break;
      if (std::abs(loss - scalar(prev_loss)) < o.tolerance_change) break;
    }
    history.save(state, grad);
  }
};

bool LbfgsMethod::step_closure(torch::optim::Optimizer& optimizer, const torch::optim::Optimizer::LossClosure& closure,
                               at::Tensor& loss) {
  const at::NoGradGuard no_grad;
  if (optimizer.param_groups().size() != 1)
    throw std::invalid_argument("lbfgs: all parameters are one vector, so there must be one parameter group");
  auto& group = optimizer.param_groups().front();
  const auto& o = static_cast<const GroupOptions<LBFGSOptions>&>(group.options()).value;
  if (group.params().empty()) {
    const at::AutoGradMode enable(true);
    loss = closure();
    return true;
  }
  auto& kept = optimizer.state()[group.params().front().unsafeGetTensorImpl()];
  if (!kept) {
    auto fresh = std::make_unique<ParamState>();
    fresh->slots.resize(slot_count);
    initialise(*fresh, group.params().front(), static_cast<const AnyOptions&>(group.options()));
    kept = std::move(fresh);
  }
  auto& state = static_cast<ParamState&>(*kept);
  const double sign = o.maximize ? -1 : 1;
  Run run{.o = o,
          .closure = closure,
          .state = state,
          .x = Vector(group.params(), sign),
          .sign = sign,
          .history = History(state)};
  loss = run.evaluate();
  if (largest(run.grad) > o.tolerance_grad) run.run();
  state.scalars[func_evals] += static_cast<double>(run.evaluations);
  return true;
}

}  // namespace

void LBFGSOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("max_iter", max_iter);
  fields.field("max_eval", max_eval);
  fields.field("tolerance_grad", tolerance_grad);
  fields.field("tolerance_change", tolerance_change);
  fields.field("history_size", history_size);
  fields.field("line_search_fn", line_search_fn);
  fields.field("maximize", maximize);
}

void LBFGSOptions::check() const {
  constexpr const char* kind = "lbfgs";
  at_least_0(kind, "lr", lr);
  require(max_iter >= 1, kind, "max_iter", ">= 1", static_cast<double>(max_iter));
  require(history_size >= 1, kind, "history_size", ">= 1", static_cast<double>(history_size));
  at_least_0(kind, "tolerance_grad", tolerance_grad);
  at_least_0(kind, "tolerance_change", tolerance_change);
  if (!line_search_fn.empty() && line_search_fn != "strong_wolfe")
    throw std::invalid_argument("lbfgs: line_search_fn must be 'strong_wolfe' or '', got '" + line_search_fn + "'");
}

std::unique_ptr<Method> make_method(const LBFGSOptions&) {
  return std::make_unique<LbfgsMethod>();
}

template class OptimizerOf<LBFGSOptions>;

}  // namespace athanor::optim
