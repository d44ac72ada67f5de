#pragma once
#include <array>
#include <cstdint>
#include <vector>

namespace athanor::core {

/// A counter-based random stream (Philox4x32-10): the n-th number is a function of (seed, stream, n) alone, so a stream
/// is resumed from its position. Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011.
class RandomStream {
 public:
  explicit RandomStream(std::uint64_t seed, std::uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  std::uint32_t next();
  /// Uniform in [0, 1), 53 bits.
  double uniform();
  /// Uniform in [0, bound) without bias. bound > 0.
  std::uint64_t below(std::uint64_t bound);

  /// How many 32-bit numbers have been drawn; `seek` goes to any position.
  [[nodiscard]] std::uint64_t position() const { return position_; }
  void seek(std::uint64_t position);

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t position_ = 0;
  std::array<std::uint32_t, 4> block_{};
};

/// A uniformly random order of 0 … n−1, a function of (seed, stream) alone (Fisher–Yates).
std::vector<std::int64_t> permutation(std::int64_t n, std::uint64_t seed, std::uint64_t stream);

}  // namespace athanor::core
