#include "optim/engine/Codebook.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace athanor::optim::engine {
namespace {

Codebook make_codebook(int size, float lowest) {
  constexpr int decades = 7;
  Codebook book;
  book.size = size;
  std::size_t count = 0;
  book.values[count++] = lowest;
  for (int decade = 0; decade < decades; ++decade) {
    const int cells = (size / 128) << decade;
    const double top = std::pow(10.0, decade - decades + 1);
    for (int cell = 0; cell < cells && count < static_cast<std::size_t>(size); ++cell)
      book.values[count++] = static_cast<float>(top * (0.1 + 0.9 * (cell + 0.5) / cells));
  }
  const auto n = static_cast<std::size_t>(size);
  while (count < n) book.values[count++] = 1.0F;
  book.values[n - 1] = 1.0F;
  for (std::size_t i = 0; i < n; ++i)
    book.limits[i] = i + 1 < n ? 0.5F * (book.values[i] + book.values[i + 1]) : std::numeric_limits<float>::infinity();
  for (std::size_t bucket = 0; bucket < book.first.size(); ++bucket) {
    const auto bits = static_cast<std::uint32_t>((bucket + ((127 - Codebook::binades) << 7)) << 16);
    const float lower_edge = bucket == 0 ? 0.0F : std::bit_cast<float>(bits);
    const auto code = std::upper_bound(book.limits.begin(), book.limits.begin() + size - 1, lower_edge);
    book.first[bucket] = static_cast<std::int32_t>(code - book.limits.begin());
  }
  return book;
}

}  // namespace

const Codebook& signed_codebook() {
  static const Codebook book = make_codebook(128, 0.0F);
  return book;
}

const Codebook& positive_codebook() {
  static const Codebook book = make_codebook(256, 1e-7F);
  return book;
}

}  // namespace athanor::optim::engine
