#include <cmath>
#include <limits>

#include "optim/engine/Reduce.h"
#include "optim/engine/Threads.h"
#include "optim/kernels/Targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "optim/kernels/ReduceKernels.cpp"
#include "hwy/foreach_target.h"
// Highway includes this file once for each instruction set.
#include "optim/engine/Memory-inl.h"

#ifndef ATHANOR_REDUCE_ONCE
#define ATHANOR_REDUCE_ONCE
namespace athanor::optim::engine {
struct Passes {
  double (*reduce)(Reduction, const void*, std::int64_t);
  void (*change)(bool limits, double, void*, std::int64_t);
};
}  // namespace athanor::optim::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace athanor::optim::HWY_NAMESPACE {
using engine::Reduction;

// Doubles throughout: a float's square neither overflows nor loses a bit.
template <class Memory>
struct Wide {
  using D = hn::ScalableTag<double>;
  static HWY_INLINE hn::Vec<D> load(const void* from, std::int64_t i) {
    const hn::Rebind<float, D> narrow;
    return hn::PromoteTo(D(), Memory::load(narrow, from, i));
  }
};
template <>
struct Wide<Plain<double>> {
  using D = hn::ScalableTag<double>;
  static HWY_INLINE hn::Vec<D> load(const void* from, std::int64_t i) { return Plain<double>::load(D(), from, i); }
};

template <class D>
HWY_INLINE hn::Vec<D> fold_in(Reduction reduction, hn::Vec<D> sum, hn::Vec<D> x) {
  switch (reduction) {
    case Reduction::sum_abs:
      return hn::Add(sum, hn::Abs(x));
    case Reduction::sum_squares:
      return hn::MulAdd(x, x, sum);
    case Reduction::max_abs:
      return hn::IfThenElse(hn::IsNaN(x), x, hn::IfThenElse(hn::IsNaN(sum), sum, hn::Max(sum, hn::Abs(x))));
    case Reduction::nonfinite:  // 0 for a finite number, NaN for the others
      return hn::Add(sum, hn::Sub(x, x));
  }
  return sum;
}

template <class Memory, Reduction reduction>
double reduce_as(const void* data, std::int64_t size) {
  const hn::ScalableTag<double> d;
  using D = decltype(d);
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  auto sum2 = hn::Zero(d);
  auto sum3 = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 4 * lanes <= size; i += 4 * lanes) {
    sum0 = fold_in<hn::ScalableTag<double>>(reduction, sum0, Wide<Memory>::load(data, i));
    sum1 = fold_in<hn::ScalableTag<double>>(reduction, sum1, Wide<Memory>::load(data, i + lanes));
    sum2 = fold_in<hn::ScalableTag<double>>(reduction, sum2, Wide<Memory>::load(data, i + 2 * lanes));
    sum3 = fold_in<hn::ScalableTag<double>>(reduction, sum3, Wide<Memory>::load(data, i + 3 * lanes));
  }
  alignas(64) typename Memory::Element rest[64] = {};
  if (i < size) {
    std::memcpy(rest, static_cast<const typename Memory::Element*>(data) + i,
                static_cast<std::size_t>(size - i) * sizeof(rest[0]));
    for (std::int64_t k = 0; k < size - i; k += lanes)
      sum0 = fold_in<hn::ScalableTag<double>>(reduction, sum0, Wide<Memory>::load(rest, k));
  }
  alignas(64) double parts[4 * 64];
  hn::Store(sum0, d, parts);
  hn::Store(sum1, d, parts + lanes);
  hn::Store(sum2, d, parts + 2 * lanes);
  hn::Store(sum3, d, parts + 3 * lanes);
  double total = 0;
  for (std::int64_t k = 0; k < 4 * lanes; ++k) {
    if (reduction == Reduction::max_abs) {
      total = std::isnan(parts[k]) || std::isnan(total) ? std::numeric_limits<double>::quiet_NaN()
                                                        : HWY_MAX(total, parts[k]);
    } else {
      total += parts[k];
    }
  }
  static_cast<void>(sizeof(D));
  if (reduction == Reduction::nonfinite) return total == 0 ? 0 : 1;
  return total;
}

template <class Memory>
double reduce_one(Reduction reduction, const void* data, std::int64_t size) {
  switch (reduction) {
    case Reduction::sum_abs:
      return reduce_as<Memory, Reduction::sum_abs>(data, size);
    case Reduction::sum_squares:
      return reduce_as<Memory, Reduction::sum_squares>(data, size);
    case Reduction::max_abs:
      return reduce_as<Memory, Reduction::max_abs>(data, size);
    case Reduction::nonfinite:
      return reduce_as<Memory, Reduction::nonfinite>(data, size);
  }
  return 0;
}

template <class Memory>
void change_one(bool limits, double by, void* data, std::int64_t size) {
  const hn::ScalableTag<typename Memory::Compute> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto factor = hn::Set(d, static_cast<typename Memory::Compute>(by));
  const auto changed = [&](const void* from, std::int64_t i) HWY_ATTR {
    const auto x = Memory::load(d, from, i);
    if (!limits) return hn::Mul(x, factor);
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Min(hn::Max(x, hn::Neg(factor)), factor));
  };
  std::int64_t i = 0;
  for (; i + lanes <= size; i += lanes) Memory::store(d, changed(data, i), data, i);
  if (i == size) return;
  alignas(64) typename Memory::Element rest[64] = {};
  const auto bytes = static_cast<std::size_t>(size - i) * sizeof(rest[0]);
  auto* tail = static_cast<typename Memory::Element*>(data) + i;
  std::memcpy(rest, tail, bytes);
  Memory::store(d, changed(rest, 0), rest, 0);
  std::memcpy(tail, rest, bytes);
}

engine::Passes passes(engine::Element element) {
  switch (element) {
    case engine::Element::f32:
      return {&reduce_one<Plain<float>>, &change_one<Plain<float>>};
    case engine::Element::f64:
      return {&reduce_one<Plain<double>>, &change_one<Plain<double>>};
    case engine::Element::bf16:
      return {&reduce_one<Bf16>, &change_one<Bf16>};
  }
  return {};
}

}  // namespace athanor::optim::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace athanor::optim {
HWY_EXPORT(passes);
namespace engine {
namespace {

constexpr std::int64_t piece_size = 1 << 16;

struct Piece {
  char* data;
  std::int64_t size;
};

// Pieces of at most piece_size elements; a task takes a few small ones.
struct Pieces {
  std::vector<Piece> pieces;
  std::vector<std::size_t> tasks = {0};

  Pieces(const std::vector<Span>& spans, std::int64_t element_size) {
    std::int64_t filled = 0;
    for (const auto& span : spans)
      for (std::int64_t begin = 0; begin < span.size; begin += piece_size) {
        pieces.push_back(
            {static_cast<char*>(span.data) + begin * element_size, std::min(piece_size, span.size - begin)});
        filled += pieces.back().size;
        if (filled < piece_size / 2) continue;
        tasks.push_back(pieces.size());
        filled = 0;
      }
    if (tasks.back() != pieces.size()) tasks.push_back(pieces.size());
  }

  template <class Body>
  void run(int threads, Body body) const {
    parallel(static_cast<std::int64_t>(tasks.size()) - 1, threads, [&](std::int64_t task) {
      const auto t = static_cast<std::size_t>(task);
      for (std::size_t i = tasks[t]; i < tasks[t + 1]; ++i) body(i);
    });
  }
};

std::int64_t size_of(Element element) {
  return element == Element::f64 ? 8 : element == Element::f32 ? 4 : 2;
}

void change(bool limits, double by, Element element, const std::vector<Span>& spans, int threads) {
  const auto kernel = HWY_DYNAMIC_DISPATCH(passes)(element).change;
  const Pieces all(spans, size_of(element));
  all.run(threads, [&](std::size_t i) { kernel(limits, by, all.pieces[i].data, all.pieces[i].size); });
}

}  // namespace

double reduce(Reduction reduction, Element element, const std::vector<Span>& spans, int threads) {
  const auto kernel = HWY_DYNAMIC_DISPATCH(passes)(element).reduce;
  const Pieces all(spans, size_of(element));
  std::vector<double> parts(all.pieces.size());
  all.run(threads, [&](std::size_t i) { parts[i] = kernel(reduction, all.pieces[i].data, all.pieces[i].size); });
  double total = 0;
  for (const double part : parts) {
    if (reduction == Reduction::sum_abs || reduction == Reduction::sum_squares) {
      total += part;
    } else {
      total = std::isnan(part) || part > total ? part : total;
      if (std::isnan(total)) break;
    }
  }
  return total;
}

void scale(double factor, Element element, const std::vector<Span>& spans, int threads) {
  change(false, factor, element, spans, threads);
}

void limit(double limit, Element element, const std::vector<Span>& spans, int threads) {
  change(true, limit, element, spans, threads);
}

}  // namespace engine
}  // namespace athanor::optim
#endif
