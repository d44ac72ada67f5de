// A vector of parameters, gradients or state, with PyTorch's names for what is done to it; every operation is the one
// that torch.optim's Python calls, in the same order of rounding. engine/Lists.h has the same names for lists of
// tensors, so a rule is written once for both. Compiled once for each instruction set (Highway's foreach_target).
#if defined(ATHANOR_VALUE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ATHANOR_VALUE_INL_H
#undef ATHANOR_VALUE_INL_H
#else
#define ATHANOR_VALUE_INL_H
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace athanor::optim::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
struct Value {
  hn::Vec<D> v;
};

template <class D>
HWY_INLINE hn::Vec<D> constant(double s) {
  return hn::Set(D(), static_cast<hn::TFromD<D>>(s));
}

template <class D>
HWY_INLINE void add_(Value<D>& a, const Value<D>& b, double alpha) {
  a.v = hn::MulAdd(constant<D>(alpha), b.v, a.v);
}
template <class D>
HWY_INLINE void add_(Value<D>& a, double s) {
  a.v = hn::Add(a.v, constant<D>(s));
}
template <class D>
HWY_INLINE void mul_(Value<D>& a, double s) {
  a.v = hn::Mul(a.v, constant<D>(s));
}
template <class D>
HWY_INLINE void mul_(Value<D>& a, const Value<D>& b) {
  a.v = hn::Mul(a.v, b.v);
}
template <class D>
HWY_INLINE void div_(Value<D>& a, double s) {
  a.v = hn::Div(a.v, constant<D>(s));
}
template <class D>
HWY_INLINE void div_(Value<D>& a, const Value<D>& b) {
  a.v = hn::Div(a.v, b.v);
}
template <class D>
HWY_INLINE void lerp_(Value<D>& a, const Value<D>& end, double weight) {
  const auto difference = hn::Sub(end.v, a.v);
  a.v = weight < 0.5 ? hn::MulAdd(constant<D>(weight), difference, a.v)
                     : hn::MulAdd(constant<D>(weight - 1), difference, end.v);
}
template <class D>
HWY_INLINE void addcmul_(Value<D>& a, const Value<D>& b, const Value<D>& c, double value) {
  a.v = hn::Add(a.v, hn::Mul(hn::Mul(constant<D>(value), b.v), c.v));
}
template <class D>
HWY_INLINE void addcdiv_(Value<D>& a, const Value<D>& b, const Value<D>& c, double value) {
  a.v = hn::Add(a.v, hn::Div(hn::Mul(constant<D>(value), b.v), c.v));
}
template <class D>
HWY_INLINE void sqrt_(Value<D>& a) {
  a.v = hn::Sqrt(a.v);
}
template <class D>
HWY_INLINE void abs_(Value<D>& a) {
  a.v = hn::Abs(a.v);
}
template <class D>
HWY_INLINE void maximum_(Value<D>& a, const Value<D>& b) {
  a.v = hn::IfThenElse(hn::IsNaN(b.v), b.v, hn::Max(b.v, a.v));  // NaN wins, as in torch.maximum
}
template <class D>
HWY_INLINE void clamp_(Value<D>& a, double low, double high) {
  a.v = hn::Min(hn::Max(a.v, constant<D>(low)), constant<D>(high));
}
template <class D>
HWY_INLINE void sign_(Value<D>& a) {
  const auto zero = hn::Zero(D());
  const auto one = constant<D>(1);
  a.v = hn::IfThenElse(hn::Gt(a.v, zero), one, hn::IfThenElse(hn::Lt(a.v, zero), hn::Neg(one), zero));
}
/// where(a > 0, positive, where(a < 0, negative, zero))
template <class D>
HWY_INLINE Value<D> by_sign(const Value<D>& a, double positive, double negative, double otherwise) {
  const auto zero = hn::Zero(D());
  return {hn::IfThenElse(hn::Gt(a.v, zero), constant<D>(positive),
                         hn::IfThenElse(hn::Lt(a.v, zero), constant<D>(negative), constant<D>(otherwise)))};
}
/// Sets a to 0 where b < 0.
template <class D>
HWY_INLINE void zero_where_negative_(Value<D>& a, const Value<D>& b) {
  a.v = hn::IfThenElseZero(hn::Not(hn::Lt(b.v, hn::Zero(D()))), a.v);
}
template <class D>
HWY_INLINE Value<D> root(const Value<D>& a) {
  return {hn::Sqrt(a.v)};
}
template <class D>
HWY_INLINE Value<D> quotient(double s, const Value<D>& a) {
  return {hn::Mul(hn::Div(constant<D>(1), a.v), constant<D>(s))};  // two roundings, as in Python
}
HWY_INLINE bool is_one(double s) {
  return s == 1;
}
/// The two below name what costs a copy on lists of tensors and nothing here.
template <class D>
HWY_INLINE Value<D> copy(const Value<D>& a) {
  return a;
}
template <class D>
HWY_INLINE void assign_(Value<D>& a, const Value<D>& b) {
  a.v = b.v;
}

}  // namespace athanor::optim::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
