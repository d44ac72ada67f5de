// How elements lie in memory, and how they are loaded and stored. Included once for each instruction set.
#if defined(ATHANOR_MEMORY_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ATHANOR_MEMORY_INL_H
#undef ATHANOR_MEMORY_INL_H
#else
#define ATHANOR_MEMORY_INL_H
#endif

#include <cstdint>
#include <cstring>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace athanor::optim::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
struct Plain {
  using Compute = T;
  using Element = T;
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const void* from, std::int64_t i) {
    return hn::LoadU(d, static_cast<const T*>(from) + i);
  }
  template <class D>
  static HWY_INLINE void store(D d, hn::Vec<D> value, void* to, std::int64_t i) {
    hn::StoreU(value, d, static_cast<T*>(to) + i);
  }
};

struct Bf16 {
  using Compute = float;
  using Element = std::uint16_t;
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const void* from, std::int64_t i) {
    const hn::RebindToUnsigned<D> d32;
    const hn::Rebind<std::uint16_t, D> d16;
    const auto bits = hn::PromoteTo(d32, hn::LoadU(d16, static_cast<const std::uint16_t*>(from) + i));
    return hn::BitCast(d, hn::ShiftLeft<16>(bits));
  }
  /// Adds `carry` (below 2^16) to the bits that bfloat16 has not, then cuts them off. NaN stays NaN, infinity infinity.
  template <class D, class V32>
  static HWY_INLINE void store_carry(D, hn::Vec<D> value, V32 carry, void* to, std::int64_t i) {
    const hn::RebindToUnsigned<D> d32;
    const hn::RebindToSigned<D> i32;
    const hn::Rebind<std::uint16_t, D> d16;
    const auto bits = hn::BitCast(d32, value);
    const auto exponent = hn::And(bits, hn::Set(d32, 0x7F800000u));
    const auto special = hn::Eq(exponent, hn::Set(d32, 0x7F800000u));
    const auto quiet = hn::IfThenElseZero(hn::RebindMask(d32, hn::IsNaN(value)), hn::Set(d32, 0x00400000u));
    const auto rounded = hn::IfThenElse(special, hn::Or(bits, quiet), hn::Add(bits, carry));
    const auto high = hn::BitCast(i32, hn::ShiftRight<16>(rounded));
    hn::StoreU(hn::DemoteTo(d16, high), d16, static_cast<std::uint16_t*>(to) + i);
  }
  template <class D>
  static HWY_INLINE void store(D d, hn::Vec<D> value, void* to, std::int64_t i) {
    const hn::RebindToUnsigned<D> d32;
    const auto lowest = hn::And(hn::ShiftRight<16>(hn::BitCast(d32, value)), hn::Set(d32, 1u));
    store_carry(d, value, hn::Add(lowest, hn::Set(d32, 0x7FFFu)), to, i);  // to nearest, ties to even
  }
};

}  // namespace athanor::optim::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
