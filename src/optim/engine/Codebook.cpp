#include "optim/engine/Codebook.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace athanor::optim::engine {
namespace {

Codebook make_codebook(int size, bool with_zero, double decades) {
  Codebook book;
  const int lowest = with_zero ? 1 : 0;
  book.size = size;
  book.decades = decades;
  book.steps = size - 1 - lowest;
  for (int i = lowest; i <= size; ++i)
    book.values[static_cast<std::size_t>(i)] =
        static_cast<float>(std::pow(10.0, decades * (i - size + 1) / book.steps));
  for (std::size_t bucket = 0; bucket < book.first.size(); ++bucket) {
    const auto bits = static_cast<std::uint32_t>((bucket + ((127 - Codebook::binades) << 7)) << 16);
    const float lower_edge = bucket == 0 ? 0.0F : std::bit_cast<float>(bits);
    const auto above = std::upper_bound(book.values.begin(), book.values.begin() + size, lower_edge);
    book.first[bucket] = std::max(0, static_cast<std::int32_t>(above - book.values.begin()) - 1);
  }
  return book;
}

}  // namespace

const Codebook& signed_codebook() {
  static const Codebook book = make_codebook(128, /*with_zero=*/true, 5);
  return book;
}

const Codebook& positive_codebook() {
  static const Codebook book = make_codebook(256, /*with_zero=*/false, 7);
  return book;
}

}  // namespace athanor::optim::engine
