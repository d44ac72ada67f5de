// The engine's rows: which parameters it updates, and what it must know of them at every step.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "hwy/cache_control.h"
#include "optim/Elementwise.h"

namespace athanor::optim {
namespace {

bool dense(const at::Tensor& tensor) {
  return tensor.layout() == at::kStrided && tensor.is_non_overlapping_and_dense();
}

// Which kernel fits a parameter's dtype and how its state is stored; nullptr: LibTorch's operators.
engine::Kernel kernel_for(const Entry& entry, const Storage* storage, const engine::Kernels& kernels) {
  if (!entry.param.is_cpu() || !dense(entry.param)) return nullptr;
  const ParamState& state = *entry.state;
  const bool has_state = !state.slots.empty() && state.slots[0].defined();
  const bool eight_bit = has_state && state.slots[0].scalar_type() == at::kByte;
  const auto pick = [&](engine::Kernel plain, engine::Kernel folded) { return eight_bit ? folded : plain; };
  switch (entry.param.scalar_type()) {
    case at::kDouble:
      return kernels.f64;
    case at::kFloat:
      return pick(kernels.f32, kernels.f32_8bit);
    case at::kBFloat16: {
      if (storage == nullptr) return kernels.bf16;
      if (storage->rounding == "stochastic") return pick(kernels.bf16_stochastic, kernels.bf16_stochastic_8bit);
      if (storage->rounding == "kahan") return pick(kernels.bf16_kahan, kernels.bf16_kahan_8bit);
      const bool float_state = has_state && state.slots[0].scalar_type() == at::kFloat;
      return pick(float_state ? kernels.bf16_float_state : kernels.bf16, kernels.bf16_8bit);
    }
    default:
      return nullptr;
  }
}

// TensorImpl::data() without the call: this is asked for every tensor at every step.
const void* data_of(const at::Tensor& tensor) {
  const auto* impl = tensor.unsafeGetTensorImpl();
  const auto* base = static_cast<const char*>(impl->unsafe_storage().unsafeGetStorageImpl()->data());
  return base + impl->storage_offset() * static_cast<std::int64_t>(impl->itemsize());
}

// splitmix64: keys of different parameters and steps have nothing to do with each other.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

bool draws_noise(const Storage* kept) {
  return kept != nullptr && (kept->rounding == "stochastic" || kept->states == "8bit");
}

std::uint64_t noise_of(const Entry& entry, const Storage& kept) {
  return mix(mix(static_cast<std::uint64_t>(kept.seed) ^ mix(entry.number)) +
             static_cast<std::uint64_t>(entry.state->step));
}

bool is_sparse(const at::Tensor& tensor) {
  return tensor.unsafeGetTensorImpl()->is_sparse() || tensor.unsafeGetTensorImpl()->is_sparse_compressed();
}

// Whether element k of the one in memory belongs to element k of the other.
bool laid_out_alike(const at::Tensor& grad, const at::Tensor& param) {
  return grad.layout() == at::kStrided && grad.is_cpu() && grad.scalar_type() == param.scalar_type() &&
         grad.sizes() == param.sizes() && grad.strides() == param.strides();
}

void make_row(Group& group, std::uint32_t i, std::size_t slot_count, const Storage* storage, const Method& method,
              const AnyOptions& options, const engine::Kernels& kernels) {
  Entry& entry = group.entries[i];
  ensure_state(method, options, entry.param, *entry.state);
  entry.kernel = kernel_for(entry, storage, kernels);
  group.table.kernels[i] = entry.kernel;
  if (entry.kernel == nullptr) return;
  entry.data = data_of(entry.param);
  engine::Row row;
  row.param = entry.param.unsafeGetTensorImpl()->mutable_data();
  const auto pointer = [](const at::Tensor& tensor) -> void* {
    return tensor.defined() ? tensor.unsafeGetTensorImpl()->mutable_data() : nullptr;
  };
  const auto& slots = entry.state->slots;
  for (std::size_t k = 0; k < slot_count; ++k) {
    row.slots[k] = pointer(slots[k]);
    if (storage != nullptr) row.scales[k] = static_cast<float*>(pointer(slots[slot_count + k]));
  }
  if (storage != nullptr) row.compensation = pointer(slots[2 * slot_count]);
  group.table.rows[i] = row;
  group.table.sizes[i] = entry.param.numel();
}

// The object behind a pointer, three cache lines of it.
void prefetch(const void* object) {
  for (int line = 0; line < 3; ++line) hwy::Prefetch(static_cast<const char*>(object) + line * 64);
}

// Rows as they were at the step before: only gradients are looked up. A row is not ready where anything else changed.
class UsualRows {
 public:
  UsualRows(const ElementwiseMethod& method, Group& group, const AnyOptions& options, const Pass& pass)
      : method_(method), group_(group), options_(options), pass_(pass), kept_(method.storage(options)) {
    if (!draws_noise(kept_)) kept_ = nullptr;
  }

  // parameter -> what autograd keeps of it -> gradient -> where its elements are
  static constexpr std::size_t stages = 4;
  struct Link {
    const at::Tensor* grad = nullptr;
  };

  void fetch(std::size_t stage, std::uint32_t i, Link& link) const {
    const Entry& entry = group_.entries[i];
    auto* param = entry.param.unsafeGetTensorImpl();
    switch (stage) {
      case 0:
        prefetch(param);
        hwy::Prefetch(entry.state);
        break;
      case 1:
        hwy::Prefetch(param->autograd_meta());
        hwy::Prefetch(param->unsafe_storage().unsafeGetStorageImpl());
        break;
      case 2:
        link.grad = &grad_of(entry.param);
        prefetch(link.grad->unsafeGetTensorImpl());
        break;
      default:
        hwy::Prefetch(link.grad->unsafeGetTensorImpl()->unsafe_storage().unsafeGetStorageImpl());
    }
  }

  bool ready(std::uint32_t i, const Link& link) {
    Entry& entry = group_.entries[i];
    const at::Tensor& grad = *link.grad;
    if (!grad.defined() || !laid_out_alike(grad, entry.param) || entry.data != data_of(entry.param)) return false;
    engine::Row& row = group_.table.rows[i];
    row.grad = data_of(grad);
    if (kept_ != nullptr) row.noise = entry.noise = noise_of(entry, *kept_);
    row.coefficients = method_.count_step(group_, i, options_, pass_);
    entry.pass = group_.pass;
    return true;
  }

 private:
  const ElementwiseMethod& method_;
  Group& group_;
  const AnyOptions& options_;
  const Pass& pass_;
  const Storage* kept_;  // nullptr where no noise is drawn
};

// Rows that take_up has completed.
struct CompleteRows {
  static constexpr std::size_t stages = 0;
  struct Link {};
  static void fetch(std::size_t, std::uint32_t, Link&) {}
  static bool ready(std::uint32_t, const Link&) { return true; }
};

}  // namespace

ElementwiseMethod::Rest ElementwiseMethod::run_engine(Group& group, const AnyOptions& options, const Pass& pass,
                                                      const engine::Kernels& kernels) {
  if (group.table.rows.size() != group.entries.size() || group.rule != kernels.f32) {
    group.table.resize(group.entries.size());
    group.rule = kernels.f32;
    group.usual = {};
    group.others = {};
    for (auto& entry : group.entries) entry.data = nullptr;
  }
  ++group.pass;
  begin_pass(group, options, pass);
  UsualRows usual(*this, group, options, pass);
  if (pass.only == nullptr) group.usual.run(group.table, pass.threads, usual);

  std::vector<std::uint32_t> others;
  std::vector<at::Tensor> kept;
  const Rest rest = take_up(group, options, pass, kernels, others, kept);
  if (others.empty() && rest.lists.empty() && rest.sparse.empty()) return rest;
  CompleteRows complete;
  group.others.follow(group.table, others);
  group.others.run(group.table, pass.threads, complete);
  if (pass.only != nullptr) return rest;

  std::vector<std::uint32_t> as_they_are;
  for (std::uint32_t i = 0; i < group.entries.size(); ++i)
    if (group.entries[i].pass == group.pass) as_they_are.push_back(i);
  group.usual.follow(group.table, as_they_are);
  return rest;
}

// Completes the rows of entries that have a gradient and were not updated yet. `kept` are gradients laid out anew.
ElementwiseMethod::Rest ElementwiseMethod::take_up(Group& group, const AnyOptions& options, const Pass& pass,
                                                   const engine::Kernels& kernels, std::vector<std::uint32_t>& engine,
                                                   std::vector<at::Tensor>& kept) {
  Rest rest;
  const Storage* storage_of = storage(options);
  const std::size_t slot_count = slots(options).size();
  const auto count = static_cast<std::uint32_t>(group.entries.size());
  const auto first = pass.only == nullptr ? 0U : static_cast<std::uint32_t>(pass.only - group.entries.data());
  const std::uint32_t end = pass.only == nullptr ? count : first + 1;
  for (std::uint32_t i = first; i < end; ++i) {
    Entry& entry = group.entries[i];
    if (entry.pass == group.pass || entry.state == nullptr) continue;
    const at::Tensor& grad = grad_of(entry.param);
    if (!grad.defined()) continue;
    if (grad.sizes() != entry.param.sizes())
      throw std::invalid_argument(fmt::format("{}: parameter {} of shape [{}] has a gradient of shape [{}]", kind(),
                                              entry.number, fmt::join(entry.param.sizes(), ", "),
                                              fmt::join(grad.sizes(), ", ")));
    if (!entry.param.is_cpu() || entry.data == nullptr || entry.data != data_of(entry.param))
      make_row(group, i, slot_count, storage_of, *this, options, kernels);
    if (draws_noise(storage_of)) entry.noise = noise_of(entry, *storage_of);
    if (is_sparse(grad)) {
      if (!takes_sparse())
        throw std::invalid_argument(fmt::format(
            "{}: parameter {} (shape [{}]) has a sparse gradient, which {} does not take: use sparse_adam, sgd or "
            "adagrad for it, or an embedding without sparse gradients",
            kind(), entry.number, fmt::join(entry.param.sizes(), ", "), kind()));
      rest.sparse.push_back(i);
      continue;
    }
    if (entry.kernel == nullptr) {
      rest.lists.push_back(i);
      continue;
    }
    engine.push_back(i);
  }
  // All are fit: only now anything changes.
  for (const auto i : engine) {
    Entry& entry = group.entries[i];
    const at::Tensor& grad = grad_of(entry.param);
    engine::Row& row = group.table.rows[i];
    if (laid_out_alike(grad, entry.param)) {
      row.grad = data_of(grad);
      entry.pass = group.pass;
    } else {
      // Laid out like the parameter: element k of every array is then the same element.
      kept.push_back(at::empty_like(entry.param).copy_(grad));
      row.grad = kept.back().unsafeGetTensorImpl()->data();
    }
    row.noise = entry.noise;
    row.coefficients = count_step(group, i, options, pass);
  }
  return rest;
}

}  // namespace athanor::optim
