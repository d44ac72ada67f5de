// What a program's own doings come to: values it reads, memory it pins, pools of CUDA graphs, hooks in backward.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>

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

// LibTorch's istft asks whether any sum of its windows is 0, and refuses to divide by it.
TEST(Program, ATransformIsTakenBack) {
  const auto forecast = rehearse({.steps = 2}, [](torch::Device device, Stage& stage) {
    const auto window = torch::hann_window(64, device);
    while (stage.next_step()) {
      const auto sound = torch::randn({2, 1024}, torch::TensorOptions(device).requires_grad(true));
      const auto bands = torch::stft(sound, 64, 16, 64, window, /*center=*/true, "reflect", /*normalized=*/false,
                                     /*onesided=*/true, /*return_complex=*/true);
      const auto back = torch::istft(bands, 64, 16, 64, window, true, false, true, 1024);
      EXPECT_EQ(back.sizes(), sound.sizes());
      back.square().mean().backward();
      EXPECT_EQ(sound.grad().sizes(), sound.sizes());
    }
  });
  ASSERT_EQ(forecast.ledger.reads.size(), 1U);
  EXPECT_EQ(forecast.ledger.reads.front().op, "aten::equal");
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

// A refused rehearsal leaves no phantom behind.
TEST(Program, ARuleForNothingIsRefusedBeforeAnythingIsInstalled) {
  const auto refusal = [](const std::string& op) {
    try {
      static_cast<void>(rehearse({.rules = {Rule{.op = op, .rule = [](Call&) {}, .source = ""}}},
                                 [](torch::Device, Stage&) { FAIL() << "it ran"; }));
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refusal("gate").find("library::operator"), std::string::npos);
  EXPECT_NE(refusal("mine::gate").find("no such operator"), std::string::npos);
  EXPECT_NE(refusal("aten::add").find("overload"), std::string::npos);
  static_cast<void>(rehearse({.steps = 1}, [](torch::Device, Stage&) {}));
}

// The commonest mistake: a batch that nobody brought to the GPU. Single numbers may stay, and indices.
TEST(Program, TensorsOfTwoDevicesAreRefusedAsOnAGpu) {
  const auto refused = [](const std::function<void(torch::Device)>& step) {
    try {
      static_cast<void>(rehearse({.steps = 1}, [&](torch::Device device, Stage&) { step(device); }));
    } catch (const std::invalid_argument& error) {
      return std::string(error.what()).find(".to(device)") != std::string::npos;
    } catch (const c10::Error& error) {  // where PyTorch's own function comes first
      const std::string text = error.what();
      return text.find("same device") != std::string::npos || text.find("should be the same") != std::string::npos;
    }
    return false;
  };
  const auto host = torch::ones({4, 4});
  const auto channels = torch::ones({2, 4, 4, 4});
  EXPECT_TRUE(refused([&](auto device) { torch::matmul(host, torch::ones({4, 4}, device)); }));
  EXPECT_TRUE(refused([&](auto device) { torch::addmm(torch::ones({4}, device), host, torch::ones({4, 4}, device)); }));
  EXPECT_TRUE(refused([&](auto device) { torch::ones({4, 4}, device).add_(host); }));
  EXPECT_TRUE(refused([&](auto device) { torch::nn::functional::mse_loss(torch::ones({4, 4}, device), host); }));
  EXPECT_TRUE(refused([&](auto device) { torch::layer_norm(torch::ones({4, 4}, device), {4}, torch::ones({4})); }));
  EXPECT_TRUE(refused([&](auto device) {
    torch::conv2d(torch::ones({2, 4, 4, 4}, device), torch::ones({4, 4, 1, 1}));
  }));
  EXPECT_FALSE(refused([&](auto device) { torch::ones({4, 4}, device) * torch::tensor(2.0); }));
  EXPECT_FALSE(refused([&](auto device) { torch::ones({4, 4}, device).index({torch::tensor({1, 2})}); }));
  EXPECT_FALSE(refused([&](auto device) { torch::ones({4, 4}, device).copy_(host); }));
}

TEST(Program, AGpuThatIsNotThereIsNamed) {
  try {
    static_cast<void>(rehearse({}, [](torch::Device, Stage&) { torch::ones({4}, torch::Device(torch::kCUDA, 1)); }));
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("Options::devices"), std::string::npos) << error.what();
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
