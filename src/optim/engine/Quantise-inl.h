// 8-bit state: a block of 256 elements to codes and back. Included once for each instruction set.
#if defined(ATHANOR_QUANTISE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ATHANOR_QUANTISE_INL_H
#undef ATHANOR_QUANTISE_INL_H
#else
#define ATHANOR_QUANTISE_INL_H
#endif

#include <cstring>

#include "hwy/highway.h"
#include "optim/engine/Codebook.h"
#include "optim/engine/Noise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace athanor::optim::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using engine::quantise_block;

using QuantiseTag = hn::CappedTag<float, 16>;

/// Codes to numbers; `count` of a block's 256 are there.
inline HWY_NOINLINE void unfold(const std::uint8_t* codes, float scale, bool positive, float* numbers,
                                std::int64_t count) {
  const QuantiseTag d;
  const hn::RebindToSigned<QuantiseTag> i32;
  const hn::RebindToUnsigned<QuantiseTag> u32;
  const hn::Rebind<std::uint8_t, QuantiseTag> u8;
  alignas(64) std::uint8_t padded[quantise_block] = {};
  if (count < quantise_block) {
    std::memcpy(padded, codes, static_cast<std::size_t>(count));
    codes = padded;
  }
  const auto& book = positive ? engine::positive_codebook() : engine::signed_codebook();
  const auto index_mask = hn::Set(i32, positive ? 0xFF : 0x7F);
  const auto sign_mask = hn::Set(u32, positive ? 0u : 0x80u);
  const auto factor = hn::Set(d, scale);
  for (std::size_t i = 0; i < static_cast<std::size_t>(quantise_block); i += hn::Lanes(d)) {
    const auto code = hn::PromoteTo(u32, hn::LoadU(u8, codes + i));
    const auto magnitude = hn::GatherIndex(d, book.values.data(), hn::And(hn::BitCast(i32, code), index_mask));
    const auto sign = hn::ShiftLeft<24>(hn::And(code, sign_mask));
    const auto value = hn::BitCast(d, hn::Or(hn::BitCast(u32, magnitude), sign));
    hn::Store(hn::Mul(value, factor), d, numbers + i);
  }
}

/// Numbers to codes; returns the block's largest magnitude. Numbers past `count` are overwritten with 0. Rounded up or
/// down at random, right in the mean: what a moving average changes in a step is a small part of the distance between
/// codes, and to the nearest it would be lost. `element` is the first number's place in the tensor.
inline HWY_NOINLINE float fold(float* numbers, bool positive, std::uint8_t* codes, std::int64_t count,
                               std::uint64_t key, std::int64_t element) {
  const QuantiseTag d;
  const hn::RebindToSigned<QuantiseTag> i32;
  const hn::RebindToUnsigned<QuantiseTag> u32;
  const hn::Rebind<std::uint8_t, QuantiseTag> u8;
  constexpr auto block = static_cast<std::size_t>(quantise_block);
  for (auto i = static_cast<std::size_t>(count); i < block; ++i) numbers[i] = 0;
  auto largest = hn::Zero(d);
  for (std::size_t i = 0; i < block; i += hn::Lanes(d)) largest = hn::Max(largest, hn::Abs(hn::Load(d, numbers + i)));
  const float scale = hn::GetLane(hn::MaxOfLanes(d, largest));
  if (!(scale > 0)) {  // 0 everywhere (or NaN: the scale says so)
    std::memset(codes, 0, static_cast<std::size_t>(count));
    return scale;
  }
  const auto& book = positive ? engine::positive_codebook() : engine::signed_codebook();
  const auto divisor = hn::Set(d, scale);
  const auto lowest = hn::Set(i32, (127 - engine::Codebook::binades) << 7);
  const auto last = hn::Set(i32, engine::Codebook::buckets - 1);
  const auto sign_mask = hn::Set(u32, positive ? 0u : 0x80u);
  const auto one = hn::Set(i32, 1);
  alignas(64) std::uint8_t folded[quantise_block];
  for (std::size_t i = 0; i < block; i += hn::Lanes(d)) {
    const auto number = hn::Load(d, numbers + i);
    const auto part = hn::Abs(hn::Div(number, divisor));
    const auto leading = hn::Sub(hn::BitCast(i32, hn::ShiftRight<16>(hn::BitCast(u32, part))), lowest);
    const auto bucket = hn::Min(hn::Max(leading, hn::Zero(i32)), last);
    const auto first = hn::GatherIndex(i32, book.first.data(), bucket);
    const auto next = hn::Ge(part, hn::GatherIndex(d, book.values.data() + 1, first));
    const auto code = hn::Add(first, hn::IfThenElseZero(hn::RebindMask(i32, next), one));
    const auto below = hn::GatherIndex(d, book.values.data(), code);
    const auto above = hn::GatherIndex(d, book.values.data() + 1, code);
    const auto bits = hn::BitCast(i32, noise(u32, key, element + static_cast<std::int64_t>(i)));
    const auto chance = hn::MulAdd(hn::ConvertTo(d, bits), hn::Set(d, 0x1p-16F), hn::Set(d, 0x1p-17F));
    const auto rises = hn::Lt(hn::Mul(chance, hn::Sub(above, below)), hn::Sub(part, below));
    const auto up = hn::IfThenElseZero(hn::RebindMask(i32, rises), one);
    const auto sign = hn::And(hn::ShiftRight<24>(hn::BitCast(u32, number)), sign_mask);
    const auto whole = hn::Or(hn::BitCast(u32, hn::Add(code, up)), sign);
    hn::StoreU(hn::DemoteTo(u8, hn::BitCast(i32, whole)), u8, folded + i);
  }
  std::memcpy(codes, folded, static_cast<std::size_t>(count));
  return scale;
}

}  // namespace athanor::optim::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
