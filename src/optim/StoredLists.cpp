#include "optim/Elementwise.h"
#include "optim/engine/Codebook.h"
#include "optim/engine/Kernel.h"

namespace athanor::optim {
namespace {

using engine::quantise_block;

const engine::Codebook& book_of(bool positive) {
  return positive ? engine::positive_codebook() : engine::signed_codebook();
}

// The magnitudes, and the one above all.
at::Tensor magnitudes(bool positive, const at::Device& device) {
  const auto& book = book_of(positive);
  return at::tensor(std::vector<float>(book.values.begin(), book.values.begin() + book.size + 1), at::kFloat)
      .to(device);
}

// Code to number, sign included.
at::Tensor table(bool positive, const at::Device& device) {
  const at::Tensor all = magnitudes(positive, device).narrow(0, 0, book_of(positive).size);
  return positive ? all : at::cat({all, -all});
}

// engine/Noise-inl.h in LibTorch's operators: 16 bits an element, in the order of memory.
at::Tensor noise(std::uint64_t key, std::int64_t count, const at::Device& device) {
  constexpr std::int64_t all = 0xFFFFFFFF;
  const auto low = static_cast<std::int64_t>(key & 0xFFFFFFFFU);
  const auto high = static_cast<std::int64_t>(key >> 32);
  at::Tensor x = at::arange(count, at::TensorOptions(at::kLong).device(device)).bitwise_and_(all).bitwise_xor_(low);
  x.bitwise_xor_(x.bitwise_right_shift(16)).mul_(0x85EBCA6B).bitwise_and_(all).bitwise_xor_(high);
  x.bitwise_xor_(x.bitwise_right_shift(13)).mul_(0xC2B2AE35).bitwise_and_(all);
  return x.bitwise_right_shift_(16);
}

// As blocks of 256, the last one filled up with 0.
at::Tensor blocks(const at::Tensor& flat) {
  const std::int64_t missing = (quantise_block - flat.numel() % quantise_block) % quantise_block;
  return at::constant_pad_nd(flat, {0, missing}).view({-1, quantise_block});
}

at::Tensor unfold(const at::Tensor& codes, const at::Tensor& scales, bool positive, const at::Tensor& like) {
  const at::Tensor values = table(positive, codes.device()).index({codes.to(at::kLong)});
  const at::Tensor flat = (blocks(values) * scales.unsqueeze(1)).view({-1}).narrow(0, 0, like.numel());
  // Codes are in the order of memory, as the engine has them.
  at::Tensor result = at::empty_like(like, like.options().dtype(at::kFloat));
  result.as_strided({like.numel()}, {1}).copy_(flat);
  return result;
}

void fold(const at::Tensor& values, at::Tensor& codes, at::Tensor& scales, bool positive, std::uint64_t key) {
  const at::Tensor rows = blocks(values.as_strided({values.numel()}, {1}));
  const at::Tensor largest = rows.abs().amax(1);
  const at::Tensor signed_parts =
      (rows / at::where(largest > 0, largest, at::ones_like(largest)).unsqueeze(1)).view({-1});
  const at::Tensor parts = signed_parts.abs();
  const at::Tensor all = magnitudes(positive, codes.device());
  const at::Tensor known = all.narrow(0, 0, book_of(positive).size);
  at::Tensor folded = at::bucketize(parts, known, /*out_int32=*/false, /*right=*/true).sub_(1).clamp_min_(0);
  const at::Tensor below = all.index({folded});
  const at::Tensor chance = noise(key, parts.numel(), codes.device()).to(at::kFloat).mul_(0x1p-16).add_(0x1p-17);
  folded += chance * (all.index({folded + 1}) - below) < parts - below;
  if (!positive) folded += signed_parts.signbit().to(at::kLong) * 128;
  codes.copy_(folded.narrow(0, 0, codes.numel()));
  scales.copy_(largest);
}

// Adds 16 random bits to those that bfloat16 has not, then cuts them off.
void round_stochastically(const at::Tensor& value, const at::Tensor& param, std::uint64_t key) {
  const at::Tensor flat = value.as_strided({value.numel()}, {1});
  const at::Tensor carry = noise(key, value.numel(), value.device()).to(at::kInt);
  at::Tensor rounded = at::empty_like(value);
  rounded.as_strided({value.numel()}, {1})
      .copy_((flat.view(at::kInt) + carry).bitwise_and(-(1 << 16)).view(at::kFloat));
  param.copy_(at::where(value.isfinite(), rounded, value));
}

}  // namespace

StoredLists::StoredLists(Bucket& bucket, const Storage& storage, const std::vector<Slot>& names)
    : slots(bucket.slots.size()), bucket_(bucket), storage_(storage), slot_count_(bucket.slots.size()) {
  for (std::size_t i = 0; i < bucket.params.tensors.size(); ++i) {
    at::Tensor param = bucket.params.tensors[i].to(at::kFloat);
    const at::Tensor& lost = bucket.states[i]->slots[2 * slot_count_];
    if (storage.rounding == "kahan" && lost.defined()) param = param + lost;
    params.tensors.push_back(param);
    grads.tensors.push_back(bucket.grads.tensors[i].to(at::kFloat));
  }
  // A float tensor's to(float) is itself.
  grads.borrowed = bucket.grads.borrowed && bucket.params.tensors.front().scalar_type() == at::kFloat;
  for (std::size_t k = 0; k < slot_count_; ++k) {
    const auto& kept = bucket.slots[k].tensors;
    folded_.push_back(!kept.empty() && kept.front().scalar_type() == at::kByte);
    positive_.push_back(names[k].name.ends_with("_sq"));
    if (!folded_[k]) {
      slots[k] = bucket.slots[k];
      continue;
    }
    for (std::size_t i = 0; i < kept.size(); ++i)
      slots[k].tensors.push_back(
          unfold(kept[i], bucket.states[i]->slots[slot_count_ + k], positive_[k], bucket.params.tensors[i]));
  }
}

void StoredLists::write_back() {
  for (std::size_t k = 0; k < slot_count_; ++k)
    for (std::size_t i = 0; folded_[k] && i < slots[k].tensors.size(); ++i)
      fold(slots[k].tensors[i], bucket_.slots[k].tensors[i], bucket_.states[i]->slots[slot_count_ + k], positive_[k],
           engine::slot_noise(bucket_.noise[i], static_cast<int>(k)));
  if (bucket_.params.tensors.front().scalar_type() == at::kFloat) return;  // changed in place
  for (std::size_t i = 0; i < params.tensors.size(); ++i) {
    const at::Tensor& param = bucket_.params.tensors[i];
    if (storage_.rounding == "stochastic") {
      round_stochastically(params.tensors[i], param, bucket_.noise[i]);
    } else {
      param.copy_(params.tensors[i]);
    }
    at::Tensor& lost = bucket_.states[i]->slots[2 * slot_count_];
    if (storage_.rounding == "kahan" && lost.defined()) lost.copy_(params.tensors[i] - param);
  }
}

}  // namespace athanor::optim
