// The loop every rule runs in: load a vector of parameter, gradient and state, update, store. Included once for each
// instruction set, like Value-inl.h.
#if defined(ATHANOR_LOOP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ATHANOR_LOOP_INL_H
#undef ATHANOR_LOOP_INL_H
#else
#define ATHANOR_LOOP_INL_H
#endif

#include <cstring>

#include "hwy/highway.h"
#include "optim/engine/Kernel.h"
#include "optim/engine/Memory-inl.h"
#include "optim/engine/Noise-inl.h"
#include "optim/engine/Quantise-inl.h"
#include "optim/engine/Value-inl.h"

HWY_BEFORE_NAMESPACE();
namespace athanor::optim::HWY_NAMESPACE {

// ---- how the parameter is rounded --------------------------------------------------------------------------------
template <class Memory>
struct Nearest : Memory {
  template <class D>
  static HWY_INLINE hn::Vec<D> load_param(D d, const engine::Row& row, std::int64_t i) {
    return Memory::load(d, row.param, i);
  }
  template <class D>
  static HWY_INLINE void store_param(D d, hn::Vec<D> value, const engine::Row& row, std::int64_t i, std::int64_t) {
    Memory::store(d, value, row.param, i);
  }
};

struct Stochastic : Nearest<Bf16> {
  template <class D>
  static HWY_INLINE void store_param(D d, hn::Vec<D> value, const engine::Row& row, std::int64_t i,
                                     std::int64_t element) {
    store_carry(d, value, noise(hn::RebindToUnsigned<D>(), row.noise, element), row.param, i);
  }
};

struct Kahan : Nearest<Bf16> {
  template <class D>
  static HWY_INLINE hn::Vec<D> load_param(D d, const engine::Row& row, std::int64_t i) {
    return hn::Add(load(d, row.param, i), load(d, row.compensation, i));
  }
  template <class D>
  static HWY_INLINE void store_param(D d, hn::Vec<D> value, const engine::Row& row, std::int64_t i, std::int64_t) {
    store(d, value, row.param, i);
    store(d, hn::Sub(value, load(d, row.param, i)), row.compensation, i);
  }
};

// ---- the loop ------------------------------------------------------------------------------------------------------
/// Which of the row's slots is a rule's k-th.
template <class Rule>
constexpr int place(int k) {
  if constexpr (requires { Rule::places; }) return Rule::places[k];
  return k;
}

/// One vector at position i of the row's arrays; `element` is its place in the tensor.
template <class Rule, class Param, class State, class D, class C>
HWY_INLINE void update_vector(D d, const engine::Row& row, std::int64_t i, std::int64_t element, const C& c) {
  Value<D> param{Param::load_param(d, row, i)};
  Value<D> grad{Param::load(d, row.grad, i)};
  Value<D> slots[Rule::slots > 0 ? Rule::slots : 1];
  for (int k = 0; k < Rule::slots; ++k) slots[k].v = State::load(d, row.slots[place<Rule>(k)], i);
  mul_(grad, c.grad_factor);
  Rule::update(param, grad, slots, c);
  Param::store_param(d, param.v, row, i, element);
  for (int k = 0; k < Rule::slots; ++k) State::store(d, slots[k].v, row.slots[place<Rule>(k)], i);
}

/// Fewer elements than a vector has: through buffers of a vector's size, so that nothing outside is touched.
template <class Rule, class Param, class State, class D, class C>
HWY_NOINLINE void update_tail(D d, const engine::Row& row, std::int64_t begin, std::int64_t count, const C& c,
                              std::int64_t first) {
  constexpr std::size_t room = 64 * sizeof(double);
  alignas(64) unsigned char buffers[3 + engine::max_slots][room] = {};
  const auto offset = static_cast<std::size_t>(begin);
  const auto n = static_cast<std::size_t>(count);
  using Element = typename Param::Element;
  using StateElement = typename State::Element;
  engine::Row tail = row;
  const auto copy_in = [&](auto*& pointer, std::size_t which, std::size_t size) {
    if (pointer == nullptr) return;
    std::memcpy(buffers[which], static_cast<const unsigned char*>(pointer) + offset * size, n * size);
    pointer = buffers[which];
  };
  copy_in(tail.param, 0, sizeof(Element));
  copy_in(tail.grad, 1, sizeof(Element));
  copy_in(tail.compensation, 2, sizeof(Element));
  for (int k = 0; k < Rule::slots; ++k)
    copy_in(tail.slots[place<Rule>(k)], 3 + static_cast<std::size_t>(k), sizeof(StateElement));
  update_vector<Rule, Param, State>(d, tail, 0, first + begin, c);
  const auto copy_out = [&](void* pointer, std::size_t which, std::size_t size) {
    if (pointer != nullptr) std::memcpy(static_cast<unsigned char*>(pointer) + offset * size, buffers[which], n * size);
  };
  copy_out(row.param, 0, sizeof(Element));
  copy_out(row.compensation, 2, sizeof(Element));
  for (int k = 0; k < Rule::slots; ++k)
    copy_out(row.slots[place<Rule>(k)], 3 + static_cast<std::size_t>(k), sizeof(StateElement));
}

template <class Rule, class Param, class State>
HWY_INLINE void update_range(const engine::Row& row, std::int64_t begin, std::int64_t end, std::int64_t first) {
  const hn::ScalableTag<typename Param::Compute> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto c = *static_cast<const typename Rule::Coefficients*>(row.coefficients);  // a copy: stores cannot alias it
  const engine::Row local = row;
  std::int64_t i = begin;
  for (; i + lanes <= end; i += lanes) update_vector<Rule, Param, State>(d, local, i, first + i, c);
  if (i < end) update_tail<Rule, Param, State>(d, row, i, end - i, c, first);
}

template <class Rule, class Param, class State>
void update(const engine::Row& row, std::int64_t begin, std::int64_t end) {
  update_range<Rule, Param, State>(row, begin, end, 0);
}

/// 8-bit state: each block of 256 is unfolded into floats on the stack, updated, and folded again. begin is a multiple
/// of 256.
template <class Rule, class Param>
void update_8bit(const engine::Row& row, std::int64_t begin, std::int64_t end) {
  alignas(64) float unfolded[Rule::slots > 0 ? Rule::slots : 1][quantise_block];
  for (std::int64_t at = begin; at < end; at += quantise_block) {
    const std::int64_t count = HWY_MIN(quantise_block, end - at);
    engine::Row block = row;
    block.param = static_cast<typename Param::Element*>(row.param) + at;
    block.grad = static_cast<const typename Param::Element*>(row.grad) + at;
    if (row.compensation != nullptr) block.compensation = static_cast<std::uint16_t*>(row.compensation) + at;
    for (int k = 0; k < Rule::slots; ++k) {
      unfold(static_cast<const std::uint8_t*>(row.slots[place<Rule>(k)]) + at,
             row.scales[place<Rule>(k)][at / quantise_block], Rule::positive[k], unfolded[k], count);
      block.slots[place<Rule>(k)] = unfolded[k];
    }
    update_range<Rule, Param, Plain<float>>(block, 0, count, at);
    for (int k = 0; k < Rule::slots; ++k)
      row.scales[place<Rule>(k)][at / quantise_block] =
          fold(unfolded[k], Rule::positive[k], static_cast<std::uint8_t*>(row.slots[place<Rule>(k)]) + at, count,
               engine::slot_noise(row.noise, place<Rule>(k)), at);
  }
}

template <class Rule>
engine::Kernels plain_kernels() {
  return {.f32 = &update<Rule, Nearest<Plain<float>>, Plain<float>>,
          .f64 = &update<Rule, Nearest<Plain<double>>, Plain<double>>,
          .bf16 = &update<Rule, Nearest<Bf16>, Bf16>};
}

/// With every kind of storage (Storage.h).
template <class Rule>
engine::Kernels all_kernels() {
  engine::Kernels kernels = plain_kernels<Rule>();
  kernels.bf16_float_state = &update<Rule, Nearest<Bf16>, Plain<float>>;
  kernels.bf16_stochastic = &update<Rule, Stochastic, Plain<float>>;
  kernels.bf16_kahan = &update<Rule, Kahan, Plain<float>>;
  kernels.f32_8bit = &update_8bit<Rule, Nearest<Plain<float>>>;
  kernels.bf16_8bit = &update_8bit<Rule, Nearest<Bf16>>;
  kernels.bf16_stochastic_8bit = &update_8bit<Rule, Stochastic>;
  kernels.bf16_kahan_8bit = &update_8bit<Rule, Kahan>;
  return kernels;
}

}  // namespace athanor::optim::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
