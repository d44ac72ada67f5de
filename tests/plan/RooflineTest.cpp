#include "athanor/plan/Roofline.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <numeric>

namespace athanor::plan {
namespace {

double total_flops(const std::vector<Work>& work) {
  return std::accumulate(work.begin(), work.end(), 0.0, [](double sum, const Work& w) { return sum + w.flops; });
}

template <class Program>
std::vector<Work> count(Program program) {
  WorkCounter counter(/*device_only=*/false);
  program();
  return counter.take();
}

TEST(Work, ProductsForwardAndBackward) {
  torch::nn::Linear linear(48, 32);
  const auto x = torch::randn({8, 16, 48}).requires_grad_();
  const double forward = 2.0 * 8 * 16 * 48 * 32;
  at::Tensor y;
  EXPECT_EQ(total_flops(count([&] { y = linear(x); })), forward);
  EXPECT_EQ(total_flops(count([&] { y.sum().backward(); })), 2 * forward);
}

TEST(Work, ConvolutionsForwardAndBackward) {
  torch::nn::Conv2d conv(torch::nn::Conv2dOptions(8, 16, 3).stride(2).padding(1).groups(2));
  const auto x = torch::randn({4, 8, 15, 15}).requires_grad_();
  const double forward = 2.0 * 4 * 16 * 8 * 8 * (8 / 2) * 9;
  at::Tensor y;
  EXPECT_EQ(total_flops(count([&] { y = conv(x); })), forward);
  EXPECT_EQ(total_flops(count([&] { y.sum().backward(); })), 2 * forward);
}

TEST(Work, TransposedConvolution) {
  torch::nn::ConvTranspose2d conv(torch::nn::ConvTranspose2dOptions(8, 4, 2).stride(2));
  const auto x = torch::randn({2, 8, 5, 5});
  EXPECT_EQ(total_flops(count([&] { conv(x); })), 2.0 * 2 * 5 * 5 * 8 * 4 * 4);
}

TEST(Work, CausalAttentionIsHalf) {
  const auto q = torch::randn({2, 4, 64, 16});
  const auto attention = [&](bool causal) {
    return total_flops(count([&] { at::scaled_dot_product_attention(q, q, q, {}, 0.0, causal); }));
  };
  EXPECT_EQ(attention(false), 2 * 2.0 * 2 * 4 * 64 * 64 * 16);
  EXPECT_EQ(attention(true), attention(false) / 2);
}

TEST(Work, EachOperatorCountsOnceWithItsTraffic) {
  const auto a = torch::randn({1000}), b = torch::randn({1000});
  const auto work = count([&] { (void)(a + b).view({10, 100}).t(); });
  ASSERT_EQ(work.size(), 1);
  EXPECT_EQ(work[0].op, "aten::add");
  EXPECT_EQ(work[0].bytes, 3 * 4000);
  EXPECT_EQ(work[0].rate, "");
  const auto table = torch::randn({5000, 10});
  const auto found = count([&] { at::embedding(table, torch::tensor({1, 2, 3})); });
  EXPECT_LT(found.back().bytes, 1000);
}

TEST(Work, SeesBackwardAndStopsWhenItEnds) {
  std::vector<Work> after;
  const auto x = torch::randn({10}).requires_grad_();
  {
    WorkCounter counter(false);
    x.sin().sum().backward();
    const auto work = counter.take();
    EXPECT_TRUE(std::ranges::any_of(work, [](const Work& w) { return w.op == "aten::cos"; }));
    EXPECT_TRUE(counter.take().empty());
  }
  EXPECT_TRUE(count([] {}).empty());
}

TEST(Roofline, IsTheLongerOfArithmeticAndTraffic) {
  const auto table = gpu::Table::builtin();
  const auto& gpu = table.find("A100 80GB");
  const RooflineOptions perfect{1, 1, 1, 0, 0};
  const Work product{"aten::mm", "bf16", gpu.peak.bf16, 1, 0},
      copy{"aten::add", "", 0, gpu.bandwidth_bytes_per_second, 0};
  EXPECT_DOUBLE_EQ(roofline(std::vector{product}, gpu, perfect).seconds, 1);
  EXPECT_DOUBLE_EQ(roofline(std::vector{copy}, gpu, perfect).seconds, 1);
  EXPECT_DOUBLE_EQ(roofline(std::vector{copy, product}, gpu, perfect).seconds, 2);
  const Work transfer{"aten::copy_", "", 0, 0, 10 * gpu.host_link.bytes_per_second()};
  EXPECT_DOUBLE_EQ(roofline(std::vector{copy, product, transfer}, gpu, perfect).seconds, 10);
}

TEST(Roofline, ManySmallOperatorsWaitForTheHost) {
  const auto table = gpu::Table::builtin();
  const std::vector<Work> small(1000, {"aten::add", "", 0, 100, 0});
  const RooflineOptions options;
  const auto estimate = roofline(small, table.find("H100"), options);
  EXPECT_DOUBLE_EQ(estimate.seconds, 1000 * options.launch_seconds);
  EXPECT_NE(estimate.text().find("waits for the host"), std::string::npos);
  EXPECT_DOUBLE_EQ(estimate.times(3).seconds, 3 * estimate.seconds);
}

TEST(Roofline, AFasterCardIsNeverSlower) {
  const auto table = gpu::Table::builtin();
  const std::vector<Work> work{{"aten::mm", "bf16", 1e12, 1e8, 0}, {"aten::add", "", 0, 1e9, 0}};
  EXPECT_LT(roofline(work, table.find("H100")).seconds, roofline(work, table.find("A100 80GB")).seconds);
  EXPECT_LT(roofline(work, table.find("A100 80GB")).seconds, roofline(work, table.find("T4")).seconds);
}

}  // namespace
}  // namespace athanor::plan
