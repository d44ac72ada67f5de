#include "athanor/nn/LinearCrossEntropy.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "athanor/core/Error.h"
#include "support/CountingAllocator.h"

namespace athanor::nn {
namespace {

struct Problem {
  explicit Problem(at::ScalarType dtype = at::kDouble, std::int64_t rows = 37, std::int64_t classes = 29) {
    torch::manual_seed(5);
    hidden = torch::randn({rows, 8}, dtype).requires_grad_();
    weight = torch::randn({classes, 8}, dtype).requires_grad_();
    bias = torch::randn({classes}, dtype).requires_grad_();
    targets = torch::randint(classes, {rows});
  }
  at::Tensor hidden, weight, bias, targets;
};

using List = std::vector<at::Tensor>;

List run(const Problem& p, const List& leaves, const std::function<at::Tensor()>& loss_of) {
  for (const auto& leaf : {p.hidden, p.weight, p.bias}) leaf.mutable_grad() = at::Tensor();
  const auto loss = loss_of();
  (loss * 3).backward();
  List result{loss.detach()};
  for (const auto& leaf : leaves) result.push_back(leaf.grad().clone());
  return result;
}

void expect_close(const List& expected, const List& actual, double tolerance) {
  ASSERT_EQ(expected.size(), actual.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(torch::allclose(expected[i].to(at::kDouble), actual[i].to(at::kDouble), tolerance, tolerance, true))
        << i << ": " << (expected[i] - actual[i]).abs().max().item<double>();
}

struct Case {
  double smoothing;
  bool mean, bias, ignore;
  std::int64_t chunk_rows;
};

class LinearCrossEntropy : public testing::TestWithParam<Case> {};

TEST_P(LinearCrossEntropy, LossAndGradientsAreThePlainOnes) {
  const auto& c = GetParam();
  Problem p;
  if (c.ignore) p.targets.masked_fill_(torch::rand({37}) < 0.3, 4);
  const LinearHead head{p.weight, c.bias ? p.bias : at::Tensor()};
  const auto plain = [&] {
    auto options = torch::nn::functional::CrossEntropyFuncOptions().label_smoothing(c.smoothing);
    if (c.ignore) options.ignore_index(4);
    if (!c.mean) options.reduction(torch::kSum);
    return torch::nn::functional::cross_entropy(torch::linear(p.hidden, p.weight, head.bias), p.targets, options);
  };
  const LinearCrossEntropyOptions options{.ignore_index = c.ignore ? 4 : -100,
                                          .label_smoothing = c.smoothing,
                                          .mean = c.mean,
                                          .chunk = Bytes{4 * 29 * c.chunk_rows}};
  List leaves{p.hidden, p.weight};
  if (c.bias) leaves.push_back(p.bias);
  expect_close(run(p, leaves, plain),
               run(p, leaves, [&] { return linear_cross_entropy(p.hidden, head, p.targets, options); }), 1e-12);
}

// Central differences of the loss alone, in fp64: no other implementation of the gradient is trusted.
TEST_P(LinearCrossEntropy, GradientsAreTheSlopesOfTheLoss) {
  const auto& c = GetParam();
  Problem p(at::kDouble, 7, 5);
  if (c.ignore) p.targets[2] = p.targets[5] = 4;
  const LinearHead head{p.weight, c.bias ? p.bias : at::Tensor()};
  const LinearCrossEntropyOptions options{.ignore_index = c.ignore ? 4 : -100,
                                          .label_smoothing = c.smoothing,
                                          .mean = c.mean,
                                          .chunk = Bytes{4 * 5 * (c.chunk_rows % 4 + 1)}};
  const auto loss = [&] { return linear_cross_entropy(p.hidden, head, p.targets, options); };
  List leaves{p.hidden, p.weight};
  if (c.bias) leaves.push_back(p.bias);
  const auto gradients = torch::autograd::grad({loss()}, leaves);
  const torch::NoGradGuard no_gradients;
  constexpr double step = 1e-6;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    auto values = leaves[i].view(-1);
    for (std::int64_t j = 0; j < values.numel(); ++j) {
      const auto at = [&](double by) {
        values[j] += by;
        const auto value = loss().item<double>();
        values[j] -= by;
        return value;
      };
      EXPECT_NEAR((at(step) - at(-step)) / (2 * step), gradients[i].view(-1)[j].item<double>(), 1e-8) << i << " " << j;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Settings, LinearCrossEntropy,
                         testing::Values(Case{0, true, true, false, 10}, Case{0, true, false, true, 1},
                                         Case{0.1, true, true, true, 7}, Case{0.1, false, true, true, 100},
                                         Case{1, false, false, false, 37}, Case{0, false, true, true, 36}));

TEST(LinearCrossEntropyBatch, KeepsLeadingDimensions) {
  Problem p(at::kDouble, 24);
  const auto options = LinearCrossEntropyOptions{.chunk = Bytes{4 * 29 * 5}};
  const LinearHead head{p.weight, p.bias};
  const auto flat = linear_cross_entropy(p.hidden, head, p.targets, options);
  EXPECT_TRUE(
      torch::equal(flat, linear_cross_entropy(p.hidden.view({2, 3, 4, 8}), head, p.targets.view({2, 3, 4}), options)));
}

TEST(LinearCrossEntropyBatch, NoRowThatCountsIsNanWithZeroGradientsAsInPyTorch) {
  Problem p;
  p.targets.fill_(-100);
  const LinearHead head{p.weight, {}};
  const auto result = run(p, {p.hidden, p.weight}, [&] { return linear_cross_entropy(p.hidden, head, p.targets); });
  expect_close(run(p, {p.hidden, p.weight},
                   [&] { return torch::nn::functional::cross_entropy(torch::linear(p.hidden, p.weight), p.targets); }),
               result, 0);
  EXPECT_TRUE(std::isnan(result[0].item<double>()));
}

TEST(LinearCrossEntropyBatch, UnderAutocastItIsAsCloseAsThePlainOne) {
  Problem p(at::kFloat, 512, 300);
  const LinearHead head{p.weight, p.bias};
  const List leaves{p.hidden, p.weight, p.bias};
  const auto exact = run(p, leaves, [&] { return linear_cross_entropy(p.hidden, head, p.targets); });
  const auto in_bf16 = [&](const std::function<at::Tensor()>& loss) {
    at::autocast::set_autocast_enabled(at::kCPU, true);
    auto value = loss();
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    return value;
  };
  const auto plain = run(p, leaves, [&] {
    return in_bf16(
        [&] { return torch::nn::functional::cross_entropy(torch::linear(p.hidden, p.weight, p.bias), p.targets); });
  });
  const auto chunked = run(p, leaves, [&] {
    return in_bf16([&] { return linear_cross_entropy(p.hidden, head, p.targets, {.chunk = Bytes{4 * 300 * 100}}); });
  });
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const auto error = [&](const List& list) { return (list[i] - exact[i]).norm().item<double>(); };
    EXPECT_LE(error(chunked), 1.2 * error(plain) + 1e-6) << i;
    EXPECT_EQ(chunked[i].scalar_type(), at::kFloat);
  }
}

TEST(LinearCrossEntropyBatch, BackwardTwiceIsAsRetainGraphSays) {
  Problem p;
  const LinearHead head{p.weight, p.bias};
  const auto loss = linear_cross_entropy(p.hidden, head, p.targets);
  const auto once = torch::autograd::grad({loss}, {p.weight}, {}, /*retain_graph=*/true)[0];
  EXPECT_TRUE(torch::equal(once, torch::autograd::grad({loss}, {p.weight})[0]));
  EXPECT_THROW(torch::autograd::grad({loss}, {p.weight}), std::exception);
  const auto other = linear_cross_entropy(p.hidden, head, p.targets);
  EXPECT_THROW(torch::autograd::grad({other}, {p.weight}, {}, true, /*create_graph=*/true), Error);
}

TEST(LinearCrossEntropyBatch, LogitsOfTheWholeBatchNeverExist) {
  constexpr std::int64_t rows = 4096, classes = 1024, chunk = 128;
  const auto hidden = torch::randn({rows, 8}).requires_grad_();
  const auto weight = torch::randn({classes, 8}).requires_grad_();
  const auto targets = torch::randint(classes, {rows});
  test::CountingAllocator memory;
  const auto before = memory.live();
  linear_cross_entropy(hidden, {weight, {}}, targets, {.chunk = Bytes{4 * classes * chunk}}).backward();
  const std::int64_t gradients = 2 * 4 * 8 * (rows + classes);
  EXPECT_LT(memory.peak() - before, gradients + 3 * 4 * classes * chunk + rows * 64);
  EXPECT_LT(memory.peak() - before, 4 * rows * classes / 4);
}

TEST(LinearCrossEntropyBatch, MistakesAreNamed) {
  Problem p;
  const auto message = [&](auto call) -> std::string {
    try {
      call();
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  const LinearHead head{p.weight, p.bias};
  EXPECT_NE(message([&] { linear_cross_entropy(p.hidden.narrow(1, 0, 7), head, p.targets); }).find("[37, 7]"),
            std::string::npos);
  EXPECT_NE(message([&] { linear_cross_entropy(p.hidden, head, p.targets.narrow(0, 0, 3)); }).find("[3]"),
            std::string::npos);
  EXPECT_NE(message([&] { linear_cross_entropy(p.hidden, head, p.targets.to(at::kInt)); }).find("int64"),
            std::string::npos);
  EXPECT_NE(message([&] { linear_cross_entropy(p.hidden, head, p.targets, {.label_smoothing = 2}); }).find("[0, 1]"),
            std::string::npos);
}

}  // namespace
}  // namespace athanor::nn
