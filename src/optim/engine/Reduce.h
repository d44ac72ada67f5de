#pragma once
#include <cstdint>
#include <vector>

namespace athanor::optim::engine {

enum class Element { f32, f64, bf16 };
enum class Reduction { sum_abs, sum_squares, max_abs, nonfinite };

struct Span {
  void* data;
  std::int64_t size;
};

/// One number over all elements of all spans. Sums are in double, over fixed pieces in a fixed order: the same on any
/// number of threads. max_abs is NaN if an element is; nonfinite is 1 if an element is infinite or NaN, else 0.
double reduce(Reduction reduction, Element element, const std::vector<Span>& spans, int threads);

/// Every element times a factor, or limited to [-limit, limit] (NaN stays).
void scale(double factor, Element element, const std::vector<Span>& spans, int threads);
void limit(double limit, Element element, const std::vector<Span>& spans, int threads);

}  // namespace athanor::optim::engine
