#pragma once
#include <ATen/ATen.h>

#include <utility>
#include <vector>

namespace athanor::optim::lists {

/// Parameters, gradients or state of many tensors of one device and dtype, with the names of engine/Value-inl.h: what a
/// rule does to a vector on the CPU it does here to whole lists, by LibTorch's foreach operators. Nothing reads a value
/// back, so nothing waits for the device.
struct Lists {
  std::vector<at::Tensor> tensors;
  bool borrowed = false;  ///< Not ours to change (gradients): the first change makes a copy.
};

/// A number on the device in the dtype of a list, as its foreach kernels want it.
inline at::Tensor like(const at::Tensor& number, const Lists& list) {
  return number.to(list.tensors.front().scalar_type());
}

inline void add_(Lists& a, const Lists& b, double alpha) {
  if (a.borrowed) {
    a = {at::_foreach_add(a.tensors, b.tensors, alpha)};
  } else {
    at::_foreach_add_(a.tensors, b.tensors, alpha);
  }
}
inline void add_(Lists& a, double s) {
  at::_foreach_add_(a.tensors, s);
}
inline void mul_(Lists& a, double s) {
  if (a.borrowed) {
    a = {at::_foreach_mul(a.tensors, s)};
  } else {
    at::_foreach_mul_(a.tensors, s);
  }
}
inline void mul_(Lists& a, const Lists& b) {
  if (a.borrowed) {
    a = {at::_foreach_mul(a.tensors, b.tensors)};
  } else {
    at::_foreach_mul_(a.tensors, b.tensors);
  }
}
inline void mul_(Lists& a, const at::Tensor& s) {
  const at::Tensor factor = like(s, a);
  if (a.borrowed) {
    a = {at::_foreach_mul(a.tensors, factor)};
  } else {
    at::_foreach_mul_(a.tensors, factor);
  }
}
inline void div_(Lists& a, const at::Tensor& s) {
  mul_(a, s.reciprocal());
}
inline void add_(Lists& a, const Lists& b, const at::Tensor& alpha) {
  add_(a, Lists{at::_foreach_mul(b.tensors, like(alpha, b))}, 1);
}
inline void lerp_(Lists& a, const Lists& end, const at::Tensor& weight) {
  Lists difference{at::_foreach_sub(end.tensors, a.tensors)};
  mul_(difference, weight);
  at::_foreach_add_(a.tensors, difference.tensors);
}
inline void addcdiv_(Lists& a, const Lists& b, const Lists& c, const at::Tensor& value) {
  at::_foreach_addcdiv_(a.tensors, at::_foreach_mul(b.tensors, like(value, b)), c.tensors, 1);
}
inline bool is_one(double s) {
  return s == 1;
}
inline bool is_one(const at::Tensor&) {
  return false;  // not known here, and no reason to ask
}
inline void div_(Lists& a, double s) {
  at::_foreach_div_(a.tensors, s);
}
inline void div_(Lists& a, const Lists& b) {
  at::_foreach_div_(a.tensors, b.tensors);
}
inline void lerp_(Lists& a, const Lists& end, double weight) {
  at::_foreach_lerp_(a.tensors, end.tensors, weight);
}
inline void addcmul_(Lists& a, const Lists& b, const Lists& c, double value) {
  at::_foreach_addcmul_(a.tensors, b.tensors, c.tensors, value);
}
inline void addcdiv_(Lists& a, const Lists& b, const Lists& c, double value) {
  at::_foreach_addcdiv_(a.tensors, b.tensors, c.tensors, value);
}
inline void sqrt_(Lists& a) {
  at::_foreach_sqrt_(a.tensors);
}
inline Lists root(const Lists& a) {
  return {at::_foreach_sqrt(a.tensors)};
}
template <class Number>
Lists quotient(const Number& s, const Lists& a) {
  Lists result{at::_foreach_reciprocal(a.tensors)};
  mul_(result, s);
  return result;
}
inline void abs_(Lists& a) {
  if (a.borrowed) {
    a = {at::_foreach_abs(a.tensors)};
  } else {
    at::_foreach_abs_(a.tensors);
  }
}
inline void maximum_(Lists& a, const Lists& b) {
  at::_foreach_maximum_(a.tensors, b.tensors);
}
inline void clamp_(Lists& a, double low, double high) {
  at::_foreach_clamp_min_(a.tensors, low);
  at::_foreach_clamp_max_(a.tensors, high);
}
inline void sign_(Lists& a) {
  if (a.borrowed) {
    a = {at::_foreach_sign(a.tensors)};
  } else {
    at::_foreach_sign_(a.tensors);
  }
}
inline Lists by_sign(const Lists& a, double positive, double negative, double otherwise) {
  Lists result;
  for (const auto& tensor : a.tensors) {
    const auto rest =
        at::where(tensor.lt(0), at::full({}, negative, tensor.options()), at::full({}, otherwise, tensor.options()));
    result.tensors.push_back(at::where(tensor.gt(0), at::full({}, positive, tensor.options()), rest));
  }
  return result;
}
inline void zero_where_negative_(Lists& a, const Lists& b) {
  if (a.borrowed) a = {at::_foreach_mul(a.tensors, 1.0)};
  for (std::size_t i = 0; i < a.tensors.size(); ++i) a.tensors[i].masked_fill_(b.tensors[i].lt(0), 0);
}
inline Lists copy(const Lists& a) {
  return {at::_foreach_mul(a.tensors, 1.0)};
}
inline void assign_(Lists& a, const Lists& b) {
  if (a.borrowed) {
    a = b;
  } else {
    at::_foreach_copy_(a.tensors, b.tensors);
  }
}

}  // namespace athanor::optim::lists
