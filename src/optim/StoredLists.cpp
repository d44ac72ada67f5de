#include "optim/Elementwise.h"
#include "optim/engine/Codebook.h"
#include "optim/engine/Kernel.h"

namespace athanor::optim {
namespace {

using engine::quantise_block;

// So many elements at a time: a few hundred MB of temporaries at most, and still long enough that a GPU is not kept
// waiting for its next kernel.
constexpr std::int64_t kAtATime = 1 << 22;
static_assert(kAtATime % quantise_block == 0);

// engine/Noise-inl.h in LibTorch's operators: 16 bits an element, in the order of memory.
at::Tensor noise(std::uint64_t key, std::int64_t first, std::int64_t count, const at::Device& device) {
  constexpr std::int64_t all = 0xFFFFFFFF;
  const auto low = static_cast<std::int64_t>(key & 0xFFFFFFFFU);
  const auto high = static_cast<std::int64_t>(key >> 32);
  at::Tensor x = at::arange(first, first + count, at::TensorOptions(at::kLong).device(device));
  x.bitwise_and_(all).bitwise_xor_(low);
  x.bitwise_xor_(x.bitwise_right_shift(16)).mul_(0x85EBCA6B).bitwise_and_(all).bitwise_xor_(high);
  x.bitwise_xor_(x.bitwise_right_shift(13)).mul_(0xC2B2AE35).bitwise_and_(all);
  return x.bitwise_right_shift_(16);
}

// As blocks of 256, the last one filled up with 0.
at::Tensor blocks(const at::Tensor& flat) {
  const std::int64_t missing = (quantise_block - flat.numel() % quantise_block) % quantise_block;
  return at::constant_pad_nd(flat, {0, missing}).view({-1, quantise_block});
}

// Adds 16 random bits to those that bfloat16 has not, then cuts them off.
at::Tensor rounded_stochastically(const at::Tensor& value, std::uint64_t key, std::int64_t first) {
  const at::Tensor carry = noise(key, first, value.numel(), value.device()).to(at::kInt);
  const at::Tensor rounded = (value.view(at::kInt) + carry).bitwise_and(-(1 << 16)).view(at::kFloat);
  return at::where(value.isfinite(), rounded, value);
}

// In the order of memory, which is that of the codes.
at::Tensor flat(const at::Tensor& dense) {
  return dense.as_strided({dense.numel()}, {1});
}

at::Tensor laid_out_like(const at::Tensor& param, const at::Tensor& tensor) {
  const bool is = tensor.is_non_overlapping_and_dense() && tensor.strides() == param.strides();
  return is ? tensor : at::empty_like(param, tensor.options()).copy_(tensor);
}

}  // namespace

StoredLists::StoredLists(const Bucket& bucket, const Storage& storage, const std::vector<Slot>& names)
    : storage_(storage),
      // A float tensor's to(float) is itself.
      borrowed_(bucket.grads.borrowed && bucket.params.tensors.front().scalar_type() == at::kFloat) {
  for (std::size_t k = 0; k < bucket.slots.size(); ++k) {
    const auto& kept = bucket.slots[k].tensors;
    const bool folded = !kept.empty() && kept.front().scalar_type() == at::kByte;
    codes_.push_back(folded ? std::optional(codes(names[k].name.ends_with("_sq"), kept.front().device()))
                            : std::nullopt);
  }
  for (std::size_t i = 0; i < bucket.params.tensors.size(); ++i) cut(bucket, i);
}

// Made on the device: bringing them there would wait for it.
StoredLists::Codes StoredLists::codes(bool positive, const at::Device& device) {
  const auto& book = positive ? engine::positive_codebook() : engine::signed_codebook();
  const auto places = at::arange(book.size + 1, at::TensorOptions(at::kDouble).device(device)) - (book.size - 1);
  at::Tensor magnitudes = at::pow(10.0, places * book.decades / book.steps).to(at::kFloat);
  if (book.steps < book.size - 1) magnitudes.narrow(0, 0, 1).zero_();
  const at::Tensor known = magnitudes.narrow(0, 0, book.size);
  return {positive, magnitudes, positive ? known : at::cat({known, -known})};
}

at::Tensor StoredLists::unfold(const at::Tensor& kept, const at::Tensor& scales, const Codes& codes) {
  const at::Tensor values = codes.values.index({kept.to(at::kLong)});
  return (blocks(values) * scales.unsqueeze(1)).view({-1}).narrow(0, 0, kept.numel());
}

void StoredLists::fold(const at::Tensor& values, const at::Tensor& kept, const at::Tensor& scales, const Codes& codes,
                       std::uint64_t key, std::int64_t first) {
  const at::Tensor rows = blocks(values);
  const at::Tensor largest = rows.abs().amax(1);
  const at::Tensor signed_parts =
      (rows / at::where(largest > 0, largest, at::ones_like(largest)).unsqueeze(1)).view({-1});
  const at::Tensor parts = signed_parts.abs();
  const at::Tensor& all = codes.magnitudes;
  const at::Tensor known = all.narrow(0, 0, all.numel() - 1);
  at::Tensor folded = at::bucketize(parts, known, /*out_int32=*/false, /*right=*/true).sub_(1).clamp_min_(0);
  const at::Tensor below = all.index({folded});
  const at::Tensor chance = noise(key, first, parts.numel(), kept.device()).to(at::kFloat).mul_(0x1p-16).add_(0x1p-17);
  folded += chance * (all.index({folded + 1}) - below) < parts - below;
  if (!codes.positive) folded += signed_parts.signbit().to(at::kLong) * 128;
  kept.copy_(folded.narrow(0, 0, kept.numel()));
  scales.copy_(largest);
}

void StoredLists::cut(const Bucket& bucket, std::size_t i) {
  const at::Tensor& param = bucket.params.tensors[i];
  const at::Tensor in_order = laid_out_like(param, param);
  if (!in_order.is_same(param)) gaps_.emplace_back(param, in_order);
  const at::Tensor values = flat(in_order), grads = flat(laid_out_like(in_order, bucket.grads.tensors[i]));
  const auto& state = bucket.states[i]->slots;
  const std::size_t count = bucket.slots.size();
  for (std::int64_t first = 0; first == 0 || first < param.numel(); first += kAtATime) {
    const std::int64_t length = std::min(kAtATime, param.numel() - first);
    const auto part = [&](const at::Tensor& all) { return all.narrow(0, first, length); };
    Stretch stretch;
    stretch.param = part(values);
    stretch.grad = part(grads);
    stretch.noise = bucket.noise[i];
    stretch.first = first;
    if (storage_.rounding == "kahan" && state[2 * count].defined()) stretch.lost = part(flat(state[2 * count]));
    for (std::size_t k = 0; k < count; ++k) {
      const auto& kept = bucket.slots[k].tensors;
      stretch.slots.push_back(kept.empty() ? at::Tensor() : part(flat(kept[i])));
      stretch.scales.push_back(
          codes_[k] ? state[count + k].narrow(0, first / quantise_block, (length + quantise_block - 1) / quantise_block)
                    : at::Tensor());
    }
    if (batches_.empty() || length > room_) {
      batches_.emplace_back();
      room_ = kAtATime;
    }
    room_ -= length;
    batches_.back().push_back(std::move(stretch));
  }
}

StoredLists::Floats StoredLists::unfolded(const std::vector<Stretch>& stretches) const {
  Floats now;
  now.slots.resize(codes_.size());
  now.grads.borrowed = borrowed_;
  for (const auto& stretch : stretches) {
    const at::Tensor param = stretch.param.to(at::kFloat);
    now.params.tensors.push_back(stretch.lost.defined() ? param + stretch.lost : param);
    now.grads.tensors.push_back(stretch.grad.to(at::kFloat));
    for (std::size_t k = 0; k < codes_.size(); ++k) {
      const at::Tensor& kept = stretch.slots[k];
      if (!kept.defined()) continue;
      now.slots[k].tensors.push_back(codes_[k] ? unfold(kept, stretch.scales[k], *codes_[k]) : kept);
    }
  }
  return now;
}

void StoredLists::fold_back(const std::vector<Stretch>& stretches, const Floats& now) const {
  for (std::size_t i = 0; i < stretches.size(); ++i) {
    const Stretch& stretch = stretches[i];
    for (std::size_t k = 0; k < codes_.size(); ++k)
      if (codes_[k])
        fold(now.slots[k].tensors[i], stretch.slots[k], stretch.scales[k], *codes_[k],
             engine::slot_noise(stretch.noise, static_cast<int>(k)), stretch.first);
    if (stretch.param.scalar_type() == at::kFloat) continue;  // changed in place
    const at::Tensor& value = now.params.tensors[i];
    stretch.param.copy_(storage_.rounding == "stochastic" ? rounded_stochastically(value, stretch.noise, stretch.first)
                                                          : value);
    if (stretch.lost.defined()) stretch.lost.copy_(value - stretch.param);
  }
}

}  // namespace athanor::optim
