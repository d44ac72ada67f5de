#pragma once
#include <array>
#include <cstdint>

namespace athanor::optim::engine {

constexpr std::int64_t quantise_block = 256;

/// What an 8-bit state element can be, as a part of its block's largest magnitude, and how to find its two neighbours
/// there. Codes are evenly spaced in the logarithm, so that an element far below the largest is kept as well as one
/// near it. With a sign: 0 and 127 magnitudes over 5 decades, the top bit of a code is the sign. Without: 256
/// magnitudes over 7 decades and no 0, so that a second moment, by whose root is divided, never becomes 0. One block is
/// 256 elements, as in Dettmers et al., "8-bit Optimizers via Block-wise Quantization", 2022, whose codes have linear
/// cells in each decade: coarse for small elements.
struct Codebook {
  static constexpr int binades = 32;  ///< Below 1, told apart by the search; smaller than the last is the lowest code.
  static constexpr int buckets = binades * 128 + 1;
  int size = 0;                               ///< 128 or 256 magnitudes.
  double decades = 0;                         ///< From the smallest but 0 to 1.
  int steps = 0;                              ///< In which they are crossed.
  std::array<float, 257> values{};            ///< Ascending to 1, and one more that is never reached.
  std::array<std::int32_t, buckets> first{};  ///< By the magnitude's leading bits: the code at or below, or one less.
};

const Codebook& signed_codebook();
const Codebook& positive_codebook();

}  // namespace athanor::optim::engine
