#include "athanor/train/Metric.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

namespace athanor::train {
namespace {

TEST(Metric, SumsOverUnequalBatchesAreTheMeanOverAllItems) {
  torch::manual_seed(1);
  const auto scores = torch::randn({10, 7}, torch::kDouble);
  const auto targets = torch::randint(7, {10}, torch::kLong);
  Tally tally({accuracy(), top_k(5), perplexity()});
  for (const auto& [from, to] : {std::pair{0, 4}, {4, 9}, {9, 10}}) {
    const auto part = scores.slice(0, from, to);
    const auto classes = targets.slice(0, from, to);
    tally.add(part, classes, torch::cross_entropy_loss(part, classes), to - from);
  }
  const auto values = tally.values("val");
  int right = 0, among_five = 0;
  for (int i = 0; i < 10; ++i) {
    const auto row = scores[i];
    const auto above = row.gt(row[targets[i].item<std::int64_t>()]).sum().item<std::int64_t>();
    right += above == 0;
    among_five += above < 5;
  }
  const double loss = torch::cross_entropy_loss(scores, targets).item<double>();
  EXPECT_NEAR(values.at("val_loss"), loss, 1e-12);
  EXPECT_NEAR(values.at("val_accuracy"), right / 10.0, 1e-12);
  EXPECT_NEAR(values.at("val_top5"), among_five / 10.0, 1e-12);
  EXPECT_NEAR(values.at("val_perplexity"), std::exp(loss), 1e-9);
}

TEST(Metric, CountsEveryPositionOfASequence) {
  const auto scores = torch::tensor({0.1, 0.9, 0.8, 0.2}).reshape({1, 2, 2});
  Tally tally({accuracy(), top_k(5), perplexity()});
  tally.add(scores, torch::tensor({{1, 1}}), torch::tensor(0.5), 1);  // one sample of two positions
  EXPECT_DOUBLE_EQ(tally.values("val").at("val_accuracy"), 0.5);
  EXPECT_DOUBLE_EQ(tally.values("val").at("val_top5"), 1.0) << "k beyond the classes is all of them";
  EXPECT_NEAR(tally.values("val").at("val_perplexity"), std::exp(0.5), 1e-6);
}

TEST(Metric, TakesTheUsersOwn) {
  const Metric mean_absolute_error{"mae", [](const at::Tensor& output, const at::Tensor& targets, const at::Tensor&) {
                                     return (output - targets).abs().mean();
                                   }};
  Tally tally({mean_absolute_error});
  tally.add(torch::tensor({1.0, 2.0}), torch::tensor({0.0, 4.0}), torch::tensor(0.0), 2);
  EXPECT_DOUBLE_EQ(tally.values("test").at("test_mae"), 1.5);
}

TEST(Metric, SaysWhatItNeedsAndWhatThereIs) {
  EXPECT_TRUE(Tally({accuracy()}).values("val").empty());
  EXPECT_THROW(top_k(0), std::invalid_argument);
  EXPECT_THROW(metric_of_name("acuracy"), std::invalid_argument);
  Tally tally({accuracy()});
  EXPECT_THROW(tally.add(torch::zeros({3}), torch::zeros({3}), torch::tensor(0.0), 3), std::invalid_argument);
}

}  // namespace
}  // namespace athanor::train
