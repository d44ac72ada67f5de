// The engine below LibTorch: every instruction set, the 8-bit codes, the helpers.
#include "optim/kernels/Targets.h"  // before Highway: which instruction sets there are

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "hwy/targets.h"
#include "optim/engine/Codebook.h"
#include "optim/engine/Reduce.h"
#include "optim/engine/Threads.h"
#include "optim/kernels/Kernels.h"
#include "optim/rules/Coefficients.h"

namespace athanor::optim {
namespace {

// Restores the choice of instruction set at the end of a test.
class Target {
 public:
  explicit Target(std::int64_t target) { hwy::SetSupportedTargetsForTest(target); }
  ~Target() { hwy::SetSupportedTargetsForTest(0); }
};

std::vector<float> numbers(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> result(n);
  for (auto& each : result) each = normal(random);
  return result;
}

TEST(Engine, EveryInstructionSetMakesTheSameAdamStep) {
  const AdamCoefficients c = {.grad_factor = 1,
                              .weight_decay = 0,
                              .shrink = 0.999,
                              .one_minus_beta1 = 0.1,
                              .beta2 = 0.999,
                              .one_minus_beta2 = 0.001,
                              .inverse_bias2_root = 1 / 0.03,
                              .eps = 1e-8,
                              .step_size = 1e-2};
  int tried = 0;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const Target chosen(target);
    const auto kernel = adam_kernels().f32;
    for (const std::size_t n : {1UL, 3UL, 16UL, 17UL, 100UL}) {  // tails of every kind
      auto p = numbers(n, 1), m = numbers(n, 3), v = numbers(n, 4);
      const auto g = numbers(n, 2);
      for (auto& each : v) each = std::abs(each);
      const auto p0 = p, m0 = m, v0 = v;
      engine::Row row;
      row.param = p.data();
      row.grad = g.data();
      row.slots[0] = m.data();
      row.slots[1] = v.data();
      row.coefficients = &c;
      kernel(row, 0, static_cast<std::int64_t>(n));
      for (std::size_t i = 0; i < n; ++i) {
        const double mi = m0[i] + c.one_minus_beta1 * (g[i] - m0[i]);
        const double vi = c.beta2 * v0[i] + c.one_minus_beta2 * g[i] * g[i];
        const double pi = c.shrink * p0[i] - c.step_size * mi / (std::sqrt(vi) * c.inverse_bias2_root + c.eps);
        EXPECT_NEAR(p[i], pi, 3e-7 * std::max(1.0, std::abs(pi))) << hwy::TargetName(target) << " " << n << " " << i;
        EXPECT_NEAR(m[i], mi, 3e-7 * std::max(1.0, std::abs(mi)));
        EXPECT_NEAR(v[i], vi, 3e-7 * vi);
      }
    }
    ++tried;
  }
  EXPECT_GE(tried, 1);
}

TEST(Engine, ACodeIsOneOfTheTwoNeighboursAndRightInTheMean) {
  for (const bool positive : {false, true}) {
    const auto& book = positive ? engine::positive_codebook() : engine::signed_codebook();
    const auto size = static_cast<std::size_t>(book.size);
    for (std::size_t i = 0; i + 1 < size; ++i) ASSERT_LT(book.values[i], book.values[i + 1]);
    EXPECT_EQ(book.values[size - 1], 1.0F);
    EXPECT_EQ(book.values[0] == 0, !positive) << "a second moment is never 0";
  }
  // Through the kernel: SGD with momentum 0 folds the gradient; the last elements are a block that is not full.
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const Target chosen(target);
    const auto kernel = sgd_momentum_kernels().f32_8bit;
    const auto& book = engine::signed_codebook();
    constexpr std::size_t n = 600;
    std::vector<float> p(n, 0), g(n, 0), scales = {2.0F, 0.0F, 0.0F};
    std::vector<std::uint8_t> codes(n, 0);
    const SgdCoefficients c = {.grad_factor = 1, .weight_decay = 0, .momentum = 0, .input = 1, .nesterov = 0, .lr = 1};
    std::mt19937 random(5);
    for (std::size_t i = 0; i < n; ++i)
      if (i < 256 || i >= 512)
        g[i] = std::pow(10.0F, -6.0F * std::uniform_real_distribution<float>()(random)) * (i % 2 == 0 ? 3.0F : -3.0F);
    g[7] = g[590] = 3.0F;
    engine::Row row;
    row.param = p.data();
    row.grad = g.data();
    row.slots[0] = codes.data();
    row.scales[0] = scales.data();
    row.coefficients = &c;
    constexpr int draws = 1000;
    std::vector<double> sums(n, 0), chances(n, 0);
    for (int draw = 0; draw < draws; ++draw) {
      row.noise = 0x9E3779B97F4A7C15U * static_cast<std::uint64_t>(draw + 1);
      kernel(row, 0, n);
      ASSERT_EQ(scales, (std::vector<float>{3.0F, 0.0F, 3.0F}));
      for (std::size_t i = 0; i < n; ++i) {
        const float part = std::abs(g[i]) / 3.0F;
        const auto above = static_cast<std::size_t>(
            std::upper_bound(book.values.begin(), book.values.begin() + 128, part) - book.values.begin());
        const std::size_t code = codes[i] & 127U;
        ASSERT_TRUE(code == above || code + 1 == above) << part << " " << code;
        ASSERT_TRUE(g[i] == 0 || ((codes[i] & 128U) != 0) == std::signbit(g[i]));
        sums[i] += code == above ? 1 : 0;
        const double width = static_cast<double>(book.values[above]) - book.values[above - 1];
        chances[i] = (static_cast<double>(part) - book.values[above - 1]) / width;
      }
    }
    for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(sums[i] / draws, chances[i], 5 * std::sqrt(0.25 / draws)) << i;
  }
}

// A moving average changes by 0.1 % a step, a small part of the distance between two codes, so rounding to the nearest
// would hold it where it is; and small elements of a block must be kept as well as large ones.
TEST(Engine, AnEightBitSecondMomentFollowsTheExactOne) {
  constexpr std::size_t n = 256 * 32;
  std::vector<float> p(n, 0), g(n, 0), scales[2] = {std::vector<float>(32, 0), std::vector<float>(32, 0)};
  std::vector<std::uint8_t> codes[2] = {std::vector<std::uint8_t>(n, 0), std::vector<std::uint8_t>(n, 0)};
  std::vector<double> exact(n, 0), size(n);
  std::mt19937 random(6);
  for (auto& each : size) each = std::pow(10.0, -3.0 * std::uniform_real_distribution<double>()(random));
  const AdamCoefficients c = {.grad_factor = 1,
                              .weight_decay = 0,
                              .shrink = 1,
                              .one_minus_beta1 = 0.1,
                              .beta2 = 0.999,
                              .one_minus_beta2 = 0.001,
                              .inverse_bias2_root = 1,
                              .eps = 1e-8,
                              .step_size = 1e-3};
  engine::Row row;
  row.param = p.data();
  row.grad = g.data();
  row.coefficients = &c;
  for (std::size_t k = 0; k < 2; ++k) {
    row.slots[k] = codes[k].data();
    row.scales[k] = scales[k].data();
  }
  const auto kernel = adam_kernels().f32_8bit;
  std::normal_distribution<double> normal;
  for (int step = 1; step <= 1000; ++step) {
    for (std::size_t i = 0; i < n; ++i) {
      g[i] = static_cast<float>(size[i] * normal(random));
      exact[i] = 0.999 * exact[i] + 0.001 * g[i] * g[i];
    }
    row.noise = 0x9E3779B97F4A7C15U * static_cast<std::uint64_t>(step);
    kernel(row, 0, n);
  }
  // By decades of the gradient: 0.93 and 0.80 in the lower two with linear cells and rounding to the nearest.
  double ratio[3] = {}, count[3] = {};
  for (std::size_t i = 0; i < n; ++i) {
    const auto decade = static_cast<std::size_t>(std::min(2.0, -std::log10(size[i])));
    const double second = static_cast<double>(engine::positive_codebook().values[codes[1][i]]) * scales[1][i / 256];
    ratio[decade] += second / exact[i];
    ++count[decade];
  }
  for (std::size_t decade = 0; decade < 3; ++decade) EXPECT_NEAR(ratio[decade] / count[decade], 1, 0.02) << decade;
}

TEST(Engine, StochasticRoundingIsRightInTheMeanAndReproducible) {
  const SgdCoefficients c = {.grad_factor = 1, .weight_decay = 0, .momentum = 0, .input = 1, .nesterov = 0, .lr = 1};
  constexpr std::size_t n = 1 << 16;
  const float step = 1.0F / 1024;  // an eighth of the distance between bfloat16 numbers just above 1
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const Target chosen(target);
    std::vector<std::uint16_t> p(n, 0x3F80), g(n), again(n, 0x3F80);  // 1.0
    const std::uint32_t bits = 0xBA800000;                            // -1/1024
    for (auto& each : g) each = static_cast<std::uint16_t>(bits >> 16);
    engine::Row row;
    row.grad = g.data();
    row.coefficients = &c;
    row.noise = 0x123456789ABCDEF;
    row.param = p.data();
    sgd_kernels().bf16_stochastic(row, 0, n);
    row.param = again.data();
    sgd_kernels().bf16_stochastic(row, 0, 1000);  // in other pieces: the noise belongs to the element
    sgd_kernels().bf16_stochastic(row, 1000, n);
    EXPECT_EQ(p, again);
    double sum = 0;
    for (const auto each : p) sum += each == 0x3F80 ? 1.0 : 1.0 + 1.0 / 128;
    EXPECT_NEAR(sum / n - 1, step, 5 * std::sqrt(0.125 * 0.875 / n) / 128);
  }
}

TEST(Engine, ReductionsSeeEveryElementOnce) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const Target chosen(target);
    std::vector<std::vector<float>> tensors;
    for (const std::size_t n : {1UL, 1000UL, 70000UL, 0UL, 200001UL})
      tensors.push_back(numbers(n, static_cast<unsigned>(n)));
    std::vector<engine::Span> spans;
    double squares = 0, sum = 0, largest = 0;
    for (auto& tensor : tensors) {
      spans.push_back({tensor.data(), static_cast<std::int64_t>(tensor.size())});
      for (const double x : tensor) {
        squares += x * x;
        sum += std::abs(x);
        largest = std::max(largest, std::abs(x));
      }
    }
    const auto reduce = [&](engine::Reduction how, int threads) {
      return engine::reduce(how, engine::Element::f32, spans, threads);
    };
    EXPECT_NEAR(reduce(engine::Reduction::sum_squares, 2), squares, 1e-10 * squares);
    EXPECT_EQ(reduce(engine::Reduction::sum_squares, 2), reduce(engine::Reduction::sum_squares, 1));
    EXPECT_NEAR(reduce(engine::Reduction::sum_abs, 2), sum, 1e-10 * sum);
    EXPECT_EQ(reduce(engine::Reduction::max_abs, 2), largest);
    EXPECT_EQ(reduce(engine::Reduction::nonfinite, 2), 0);
    for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
      for (const std::size_t where : {0UL, 69999UL}) {
        auto& element = tensors[2][where];
        const float was = std::exchange(element, bad);
        EXPECT_EQ(reduce(engine::Reduction::nonfinite, 2), 1);
        element = was;
      }
    }
  }
}

TEST(Threads, EveryTaskIsDoneOnceAndNestedCallsWork) {
  std::vector<std::atomic<int>> done(1000);
  for (int round = 0; round < 50; ++round)
    engine::parallel(1000, 3, [&](std::int64_t task) {
      if (task == 500) engine::parallel(10, 2, [](std::int64_t) {});
      ++done[static_cast<std::size_t>(task)];
    });
  for (const auto& each : done) EXPECT_EQ(each, 50);
}

}  // namespace
}  // namespace athanor::optim
