#pragma once
#include <array>
#include <cstdint>

namespace athanor::optim::engine {

constexpr std::int64_t quantise_block = 256;

/// What an 8-bit state element can be, as a part of its block's largest magnitude, and how to find the nearest. Decade
/// 10^-k below the largest is cut into equal cells, half as many as the decade above; a code is its cell's middle, the
/// topmost is 1. With a sign: 128 magnitudes from 0, the top bit of a code is the sign. Without: 256 magnitudes and no
/// 0, so that a second moment, by whose root is divided, never becomes 0. Source: Dettmers, "8-Bit Approximations for
/// Parallelism in Deep Learning", 2016 (dynamic tree), used block-wise as in Dettmers et al., "8-bit Optimizers via
/// Block-wise Quantization", 2022.
struct Codebook {
  static constexpr int binades = 32;  ///< Below 1, told apart by the search; smaller than the last is the lowest code.
  static constexpr int buckets = binades * 128 + 1;
  int size = 0;                     ///< 128 or 256 magnitudes.
  std::array<float, 256> values{};  ///< Ascending.
  std::array<float, 256> limits{};  ///< Half way from values[i] to values[i + 1]: at or above it, i + 1 is nearer.
  std::array<std::int32_t, buckets> first{};  ///< By the magnitude's leading bits: its code, or the one below.
};

const Codebook& signed_codebook();
const Codebook& positive_codebook();

}  // namespace athanor::optim::engine
