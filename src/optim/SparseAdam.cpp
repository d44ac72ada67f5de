#include "athanor/optim/SparseAdam.h"

#include <cmath>

#include "optim/Check.h"
#include "optim/OptimizerOf.h"
#include "optim/PerTensor.h"

namespace athanor::optim {
namespace {

struct SparseAdamTraits {
  using Options = SparseAdamOptions;
  static constexpr const char* kind = "sparse_adam";
  static constexpr bool has_step = true;
  static constexpr bool takes_sparse = true;

  static std::vector<Slot> slots(const Options&) { return {{"exp_avg"}, {"exp_avg_sq"}}; }
  static void initialise(ParamState&, const at::Tensor&, const Options&) {}

  template <class Real>
  static void update(const at::Tensor& param, const at::Tensor& given, ParamState& state, const Options& o,
                     const Real& step) {
    const at::Tensor grad = given.coalesce();  // the update is not linear, so each row must be there once
    const at::Tensor values = grad._values();
    if (values.numel() == 0) return;
    const auto sparse = [&](const at::Tensor& of) { return at::sparse_coo_tensor(grad._indices(), of, grad.sizes()); };
    // A moment's rows become old + (1 - beta) (new - old); returns them.
    const auto move = [&](at::Tensor& moment, const at::Tensor& to, double beta) {
      const at::Tensor old = moment.sparse_mask(grad)._values();
      const at::Tensor change = to.sub(old).mul_(1 - beta);
      moment.add_(sparse(change));
      return change + old;
    };
    const at::Tensor exp_avg = move(state.slots[0], values, o.betas[0]);
    const at::Tensor exp_avg_sq = move(state.slots[1], values.square(), o.betas[1]);
    const Real step_size = o.lr * square_root(1 - power(o.betas[1], step)) / (1 - power(o.betas[0], step));
    param.add_(sparse(exp_avg.div(exp_avg_sq.sqrt().add_(o.eps)).mul_(-step_size)));
  }
};

}  // namespace

void SparseAdamOptions::visit(Fields& fields) {
  fields.field("lr", lr);
  fields.field("betas", betas);
  fields.field("eps", eps);
  fields.field("maximize", maximize);
}

void SparseAdamOptions::check() const {
  constexpr const char* kind = "sparse_adam";
  require(lr > 0, kind, "lr", "> 0", lr);
  check_betas(kind, betas);
  require(eps > 0, kind, "eps", "> 0", eps);
}

std::unique_ptr<Method> make_method(const SparseAdamOptions&) {
  return std::make_unique<PerTensor<SparseAdamTraits>>();
}

template class OptimizerOf<SparseAdamOptions>;

}  // namespace athanor::optim
