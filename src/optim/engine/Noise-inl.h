// Random bits for rounding. Included once for each instruction set.
#if defined(ATHANOR_NOISE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ATHANOR_NOISE_INL_H
#undef ATHANOR_NOISE_INL_H
#else
#define ATHANOR_NOISE_INL_H
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace athanor::optim::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// 16 random bits for each element from `element` on: a mix of (key, element) that passes for noise (Murmur3's
/// finaliser), so a resumed run draws the same bits. StoredLists.cpp has the same in LibTorch's operators.
template <class D32>
HWY_INLINE hn::Vec<D32> noise(D32 d32, std::uint64_t key, std::int64_t element) {
  auto x = hn::Xor(hn::Iota(d32, static_cast<std::uint32_t>(element)), hn::Set(d32, static_cast<std::uint32_t>(key)));
  x = hn::Mul(hn::Xor(x, hn::ShiftRight<16>(x)), hn::Set(d32, 0x85EBCA6Bu));
  x = hn::Xor(x, hn::Set(d32, static_cast<std::uint32_t>(key >> 32)));
  x = hn::Mul(hn::Xor(x, hn::ShiftRight<13>(x)), hn::Set(d32, 0xC2B2AE35u));
  return hn::ShiftRight<16>(x);
}

}  // namespace athanor::optim::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
