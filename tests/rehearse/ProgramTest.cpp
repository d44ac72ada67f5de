// What a program's own doings come to: values it reads, memory it pins, pools of CUDA graphs, hooks in backward.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "athanor/rehearse/Picture.h"
#include "athanor/rehearse/Rehearse.h"

namespace athanor::rehearse {

// Not in an unnamed namespace and not inlined: a stack can name it.
__attribute__((noinline)) bool decide_by(const at::Tensor& loss) {
  return loss.item<double>() > 0.5;
}

namespace {

constexpr std::int64_t mebi = 1 << 20;

TEST(Program, AValueItReadsIsNamedWithItsPlaceAndWhatWasAssumed) {
  bool said = false;
  const auto forecast = rehearse({.steps = 3, .floating_values = 0.75}, [&](torch::Device device, Stage& stage) {
    while (stage.next_step()) said = decide_by(torch::ones({4}, device).mean());
  });
  EXPECT_TRUE(said);
  ASSERT_EQ(forecast.ledger.reads.size(), 1U);
  const auto& read = forecast.ledger.reads.front();
  EXPECT_EQ(read.times, 3);
  EXPECT_EQ(read.step, 1);
  EXPECT_NE(read.where.find("decide_by"), std::string::npos) << read.where;
  ASSERT_FALSE(forecast.notes.empty());
  for (const char* part : {"decide_by", "0.75", "Options::floating_values"})
    EXPECT_NE(forecast.notes.front().find(part), std::string::npos) << forecast.notes.front();
  EXPECT_NE(describe(forecast, core::Terminal{}).find("decide_by"), std::string::npos);
}

TEST(Program, ASizeThatDependsOnDataNamesThePlaceAndTheMend) {
  try {
    static_cast<void>(rehearse({.steps = 1}, [](torch::Device device, Stage& stage) {
      while (stage.next_step()) {
        const auto x = torch::ones({8}, device);
        x.index({x > 0});
      }
    }));
    FAIL();
  } catch (const std::invalid_argument& error) {
    for (const char* part : {"nonzero", "selected"})
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

// PyTorch's cache of pinned memory: blocks of powers of two, kept for the next of their size.
TEST(Program, PinnedMemoryIsCountedAsPyTorchsCacheHoldsIt) {
  const auto forecast = rehearse({.steps = 2}, [](torch::Device, Stage& stage) {
    while (stage.next_step()) {
      const auto one = torch::empty({1000}, torch::TensorOptions().pinned_memory(true));
      const auto two = torch::empty({1000}, torch::TensorOptions().pinned_memory(true));
    }
  });
  EXPECT_EQ(forecast.ledger.pinned_peak, 2 * 4096);
}

TEST(Program, AGraphsPoolDoesNotTakeWhatTheCacheHas) {
  const auto reserved = [](bool graph) {
    return rehearse({.steps = 1},
                    [&](torch::Device device, Stage& stage) {
                      static_cast<void>(stage.next_step());
                      torch::empty({8 * mebi}, device.type());
                      const auto pool = graph ? stage.graph_pool() : nullptr;
                      torch::empty({8 * mebi}, device.type());
                    })
        .peak.reserved.value;
  };
  EXPECT_EQ(reserved(true), 2 * reserved(false));
}

TEST(Program, TheVerdictSaysWhetherTheRangeFitsToo) {
  const auto forecast = rehearse({.gpu = "RTX 3060", .steps = 1}, [](torch::Device device, Stage& stage) {
    const auto weight = torch::empty({64, 64, 3, 3}, device);
    while (stage.next_step()) torch::conv2d(torch::empty({64, 64, 112, 112}, device), weight, {}, 1, 1);
  });
  EXPECT_TRUE(forecast.fits);
  EXPECT_GT(forecast.uncertain(), 0);
  EXPECT_EQ(forecast.surely_fits, forecast.peak.process.high <= forecast.gpu.usable.count);
}

}  // namespace
}  // namespace athanor::rehearse
