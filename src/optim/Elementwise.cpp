#include "optim/Elementwise.h"

#include "optim/engine/Codebook.h"

namespace athanor::optim {
void ElementwiseMethod::add_to(Bucket& bucket, const Entry& entry, std::size_t slot_count) {
  // A complex number is two real ones, as in PyTorch.
  const auto real = [](const at::Tensor& tensor) { return tensor.is_complex() ? at::view_as_real(tensor) : tensor; };
  bucket.params.tensors.push_back(real(entry.param));
  bucket.grads.tensors.push_back(real(grad_of(entry.param)));
  bucket.grads.borrowed = true;
  bucket.slots.resize(slot_count);
  for (std::size_t k = 0; k < slot_count; ++k)
    if (entry.state->slots[k].defined()) bucket.slots[k].tensors.push_back(real(entry.state->slots[k]));
  bucket.states.push_back(entry.state);
  bucket.noise.push_back(entry.noise);
}

bool ElementwiseMethod::same_kind(const Bucket& bucket, const Entry& entry) {
  const at::Tensor& param = bucket.params.tensors.front();
  if (param.device() != entry.param.device()) return false;
  if (bucket.states.front()->slots.size() != entry.state->slots.size()) return false;
  const auto type =
      entry.param.is_complex() ? c10::toRealValueType(entry.param.scalar_type()) : entry.param.scalar_type();
  if (param.scalar_type() != type) return false;
  for (std::size_t k = 0; k < entry.state->slots.size(); ++k) {
    const at::Tensor& a = bucket.states.front()->slots[k];
    const at::Tensor& b = entry.state->slots[k];
    if (a.defined() != b.defined() || (a.defined() && a.scalar_type() != b.scalar_type())) return false;
  }
  return true;
}

std::vector<Bucket> ElementwiseMethod::buckets_on_device(Group& group, const Pass& pass,
                                                         const std::vector<std::uint32_t>& active,
                                                         std::size_t slot_count) {
  // What may be taken back is copied, so only so much at a time.
  constexpr std::size_t most = std::size_t{64} << 20;
  std::vector<Bucket> buckets;
  std::vector<std::size_t> bytes;
  // One tensor counts for all parameters that have made the same steps, so the same tensor means the same count.
  const auto same_steps = [](const ParamState& a, const ParamState& b) {
    if (a.device_step.defined() || b.device_step.defined()) return a.device_step.is_same(b.device_step);
    return a.step == b.step && a.scalars == b.scalars;
  };
  for (const auto i : active) {
    const Entry& entry = group.entries[i];
    std::vector<at::Tensor> changed;
    std::size_t size = 0;
    if (pass.device_found_inf.defined()) changed = changed_by_step(entry.param, *entry.state);
    for (const auto& tensor : changed) size += tensor.nbytes();
    std::size_t b = 0;
    while (b < buckets.size() && !(bytes[b] + size <= most && same_kind(buckets[b], entry) &&
                                   same_steps(*buckets[b].states.front(), *entry.state)))
      ++b;
    if (b == buckets.size()) {
      buckets.emplace_back();
      bytes.push_back(0);
    }
    bytes[b] += size;
    buckets[b].changed.insert(buckets[b].changed.end(), changed.begin(), changed.end());
    add_to(buckets[b], entry, slot_count);
  }
  return buckets;
}

void ElementwiseMethod::share_progress(Bucket& bucket) {
  const ParamState& first = *bucket.states.front();
  for (auto* state : bucket.states) {
    if (state == &first) continue;
    ++state->step;
    state->device_step = first.device_step;
  }
}

std::vector<at::Tensor> device_steps(const Bucket& bucket) {
  const at::Tensor& param = bucket.params.tensors.front();
  std::vector<at::Tensor> steps;
  for (auto* state : bucket.states) {
    if (!state->device_step.defined())
      state->device_step = at::full({}, state->step, at::TensorOptions(at::kFloat).device(param.device()));
    steps.push_back(state->device_step);
  }
  at::_foreach_add_(steps, 1);
  return steps;
}

void finish_steps(const std::vector<at::Tensor>& steps, const Pass& pass) {
  if (pass.device_found_inf.defined())
    at::_foreach_sub_(steps, std::vector<at::Tensor>(steps.size(), pass.device_found_inf));
}

std::optional<at::Tensor> device_scale(const Bucket& bucket, const Pass& pass) {
  if (pass.device_scale.defined()) return pass.device_scale;
  if (pass.inverse_scale == 1) return std::nullopt;
  return at::full({}, 1 / pass.inverse_scale,
                  at::TensorOptions(at::kFloat).device(bucket.params.tensors.front().device()));
}

std::optional<at::Tensor> device_found_inf(const Pass& pass) {
  return pass.device_found_inf.defined() ? std::optional(pass.device_found_inf) : std::nullopt;
}

void ensure_state(const Method& method, const AnyOptions& options, const at::Tensor& param, ParamState& state) {
  const auto slots = method.slots(options);
  const Storage* storage = method.storage(options);
  const bool bf16 = param.scalar_type() == at::kBFloat16;
  const std::size_t count = slots.size();
  state.slots.resize(storage == nullptr ? count : 2 * count + 1);
  // Smaller tensors are embeddings' and norms' and biases': little to save, much to lose (Dettmers et al., 2022).
  const bool folded = storage != nullptr && storage->states == "8bit" && param.numel() >= 4096 &&
                      (bf16 || param.scalar_type() == at::kFloat);
  const bool as_float = bf16 && storage != nullptr && (storage->states != "same" || storage->rounding != "nearest");
  for (std::size_t k = 0; k < count; ++k) {
    if (!slots[k].wanted || slots[k].made_by_method || state.slots[k].defined()) continue;
    if (folded) {
      const std::int64_t blocks = (param.numel() + engine::quantise_block - 1) / engine::quantise_block;
      state.slots[k] = at::zeros({param.numel()}, param.options().dtype(at::kByte).requires_grad(false));
      state.slots[count + k] = at::zeros({blocks}, param.options().dtype(at::kFloat).requires_grad(false));
    } else {
      auto layout = param.options().requires_grad(false);
      if (as_float) layout = layout.dtype(at::kFloat);
      state.slots[k] = slots[k].initial == 0
                           ? at::zeros_like(param, layout, at::MemoryFormat::Preserve)
                           : at::full_like(param, slots[k].initial, layout, at::MemoryFormat::Preserve);
    }
  }
  if (bf16 && storage != nullptr && storage->rounding == "kahan" && !state.slots[2 * count].defined())
    state.slots[2 * count] = at::zeros_like(param, {}, at::MemoryFormat::Preserve);
}

}  // namespace athanor::optim
