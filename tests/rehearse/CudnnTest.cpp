// A cuDNN that is asked: what PyTorch would make of its plans, and what becomes of one that misbehaves.
#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "athanor/core/Error.h"
#include "athanor/gpu/Table.h"
#include "athanor/rehearse/Rehearse.h"
#include "rehearse/LineProcess.h"
#include "rehearse/phantom/Cudnn.h"

namespace athanor::rehearse {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t mib = 1 << 20;
constexpr auto gpu_of_the_stand_in = "RTX 3060";

class Cudnn : public testing::Test {
 protected:
  void SetUp() override {
    const auto path = std::string(ATHANOR_BUILD) + ':' + std::getenv("PATH");
    setenv("PATH", path.c_str(), 1);
    unsetenv("STAND_IN");
  }
  void TearDown() override {
    auto& settings = at::globalContext();
    settings.setBenchmarkCuDNN(false);
    settings.setDeterministicCuDNN(false);
    settings.setAllowTF32CuDNN(true);
    unsetenv("STAND_IN");
  }

  // Every stand-in has a process of its own by its path, so that the environment it starts in is the test's.
  static std::string stand_in(const std::string& mode = "") {
    if (mode.empty()) return ATHANOR_STANDINS;
    setenv("STAND_IN", mode.c_str(), 1);
    const auto folder = std::filesystem::path(testing::TempDir()) / ("stand_in_" + mode);
    std::filesystem::create_directories(folder);
    std::filesystem::copy_file(std::string(ATHANOR_STANDINS) + "/libcudnn.so.9", folder / "libcudnn.so.9",
                               std::filesystem::copy_options::overwrite_existing);
    return folder.string();
  }

  static Forecast on(const std::string& cudnn, const std::function<void(torch::Device)>& step, bool limited = false) {
    return rehearse({.gpu = gpu_of_the_stand_in, .steps = 2, .limit_memory = limited, .cudnn = cudnn},
                    [&](torch::Device device, Stage& stage) {
                      while (stage.next_step()) step(device);
                    });
  }

  // Scratch of at least a mebibyte in one step, in order.
  static std::vector<std::int64_t> scratch(const Forecast& forecast, int step = 1) {
    std::vector<std::int64_t> sizes;
    for (const auto& event : forecast.ledger.events) {
      const auto& block = forecast.ledger.blocks[event.block];
      if (!event.free && event.step == step && block.category == Category::workspace && block.requested > mib)
        sizes.push_back(block.requested);
    }
    return sizes;
  }
};

void convolve(torch::Device device, torch::MemoryFormat format = torch::MemoryFormat::Contiguous) {
  const auto options = torch::TensorOptions().device(device).requires_grad(true);
  const auto input = torch::empty({4, 3, 32, 32}, options.memory_format(format));
  torch::conv2d(input, torch::empty({5, 3, 3, 3}, options)).sum().backward();
}

TEST_F(Cudnn, EachPassTakesThePlanThatPytorchWouldTryFirst) {
  constexpr std::int64_t channels = 512 * 3 + 5;
  const auto base = [](std::int64_t rank) {
    return std::vector<std::int64_t>{(16 + rank) * mib + channels, (32 + rank) * mib + channels,
                                     (64 + rank) * mib + channels};
  };
  const auto step = [](auto device) { convolve(device); };
  const auto forecast = on(stand_in(), step);
  EXPECT_EQ(scratch(forecast), base(3));  // what down-converts is never taken
  EXPECT_EQ(scratch(forecast, 2), base(3));
  EXPECT_EQ(forecast.uncertain(), 0);
  ASSERT_FALSE(forecast.notes.empty());
  EXPECT_NE(forecast.notes.back().find("cuDNN 9.26.0 ("), std::string::npos) << forecast.notes.back();
  at::globalContext().setAllowTF32CuDNN(false);
  EXPECT_EQ(scratch(on(stand_in(), step)), base(2));
  at::globalContext().setDeterministicCuDNN(true);
  EXPECT_EQ(scratch(on(stand_in(), step)), base(1));  // past one that cannot be planned
  EXPECT_EQ(scratch(on(stand_in(), [](auto device) { convolve(device, torch::MemoryFormat::ChannelsLast); })), base(9));
}

TEST_F(Cudnn, ATransposedConvolutionRunsThePassesOfThePlainOne) {
  const auto forecast = on(stand_in(), [](auto device) {
    const auto options = torch::TensorOptions().device(device).requires_grad(true);
    torch::conv_transpose2d(torch::empty({4, 3, 32, 32}, options), torch::empty({3, 5, 3, 3}, options))
        .sum()
        .backward();
  });
  constexpr std::int64_t channels = 512 * 5 + 3;  // its output is the plain one's input
  EXPECT_EQ(scratch(forecast),
            (std::vector<std::int64_t>{35 * mib + channels, 19 * mib + channels, 67 * mib + channels}));
}

TEST_F(Cudnn, APlanWithoutMemoryForItGivesWayToTheNext) {
  const auto step = [](auto device) {
    const torch::NoGradGuard no_gradients;
    const auto options = torch::TensorOptions().device(device);
    const auto much = torch::empty({2048, mib}, options.dtype(torch::kByte));
    torch::conv2d(torch::empty({4, 3, 32, 32}, options), torch::empty({5, 3, 3, 3}, options));
  };
  const auto huge = stand_in("huge");  // a tebibyte, then 10 GiB of the card's 11.6
  EXPECT_EQ(scratch(on(huge, step)), (std::vector<std::int64_t>{10 * mib << 10}));
  EXPECT_EQ(scratch(on(huge, step, /*limited=*/true)), (std::vector<std::int64_t>{17 * mib + 512 * 3 + 5}));
}

TEST_F(Cudnn, BenchmarkTriesThemAllOnceAndLeavesARange) {
  at::globalContext().setBenchmarkCuDNN(true);
  const auto forecast = on(stand_in(), [](auto device) {
    const torch::NoGradGuard no_gradients;
    const auto options = torch::TensorOptions().device(device);
    torch::conv2d(torch::empty({4, 3, 32, 32}, options), torch::empty({5, 3, 3, 3}, options));
  });
  constexpr std::int64_t most = 19 * mib + 512 * 3 + 5;
  EXPECT_EQ(scratch(forecast, 1), (std::vector<std::int64_t>{most, most}));  // the trials', then the fastest's
  EXPECT_EQ(scratch(forecast, 2), (std::vector<std::int64_t>{most}));
  EXPECT_TRUE(std::any_of(forecast.ledger.blocks.begin(), forecast.ledger.blocks.end(),
                          [](const Block& block) { return block.low == 1 && block.high == most; }));
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "none";
}

TEST_F(Cudnn, WhatIsNoCudnnIsSaidInALine) {
  const auto step = [](auto device) { convolve(device); };
  const auto says = [&](const std::string& cudnn, const std::string& expected) {
    const auto error = error_of([&] { on(cudnn, step); });
    EXPECT_NE(error.find(expected), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  };
  EXPECT_THROW(on("nowhere", step), std::invalid_argument);
  EXPECT_THROW(on(ATHANOR_SOURCE_DIR, step), std::invalid_argument);
  says(std::string(ATHANOR_SOURCE_DIR) + "/README.md", "README.md: ");
  says("/proc/self/exe", "/proc/self/exe");
  says(stand_in("old"), "cuDNN 9.1.0 cannot plan without a GPU, which it can from 9.8 on; without --cudnn");
  says(stand_in("crash"), "its process ended without an answer; without --cudnn");
}

// As PyTorch might meet it: what cuDNN has no plan for is bounded as without it.
TEST_F(Cudnn, WhatItRefusesIsBounded) {
  const auto step = [](auto device) { convolve(device); };
  const auto without = on("", step);
  for (const auto* mode : {"refuse", "endless"}) {
    const auto forecast = on(stand_in(mode), step);
    EXPECT_EQ(forecast.peak.requested.high, without.peak.requested.high) << mode;
    EXPECT_GT(forecast.uncertain(), 0) << mode;
  }
  EXPECT_NE(without.notes.back().find("--cudnn auto"), std::string::npos);
}

TEST_F(Cudnn, AProcessThatIsSilentEndlessOrGoneIsAnErrorInTime) {
  const auto says = [](const std::vector<std::string>& command, const std::string& expected) {
    const auto error = error_of([&] { LineProcess("it", command).receive(100ms); });
    EXPECT_NE(error.find(expected), std::string::npos) << error;
  };
  says({"sleep", "60"}, "it: no answer within 0.1 s");
  says({"true"}, "it: its process ended without an answer");
  says({"/no/such/program"}, "it: /no/such/program does not start");
  const auto endless = error_of([] { LineProcess("it", {"head", "-c", "9000000", "/dev/zero"}).receive(10s); });
  EXPECT_NE(endless.find("it: its answer has no end"), std::string::npos) << endless;
  LineProcess echo("it", {"cat"});
  echo.send("one");
  echo.send("two");
  EXPECT_EQ(echo.receive(10s), "one");
  EXPECT_EQ(echo.receive(10s), "two");
}

// docs/design/cudnn-workspaces.md says so of what the table of GPUs does not have.
TEST_F(Cudnn, ARealOnesAnswersDoNotDependOnWhatIsNotKnownOfTheGpu) {
  std::string library;
  try {
    const char* named = std::getenv("ATHANOR_CUDNN");
    library = phantom::library_of_cudnn(named != nullptr ? named : "auto").string();
  } catch (const std::invalid_argument& error) {
    GTEST_SKIP() << error.what();
  }
  const auto device = nlohmann::json::parse(phantom::device_properties(gpu::Table::builtin().find("RTX 3060")));
  const auto answers = [&](const nlohmann::json& properties) {
    LineProcess process("cudnn", {"athanor-cudnn", library, properties.dump()});
    std::vector<std::string> lines{process.receive(60s)};
    for (const auto* pass : {"forward", "data", "filter"})
      for (const auto* type : {"float32", "float16", "bfloat16"})
        for (const auto* format : {"contiguous", "channels_last"})
          for (const auto* shapes : {"16 64 56 56 64 64 3 3 16 64 56 56 1 1", "200 16 43 43 96 16 1 1 200 96 43 43 0 0",
                                     "32 96 28 28 96 1 3 3 32 96 28 28 1 1"}) {
            std::ostringstream question;
            question << pass << ' ' << type << " 32 32 32 " << format << " 4 " << shapes << " 1 1 1 1 0 1";
            process.send(question.str());
            lines.push_back(process.receive(60s));
            EXPECT_TRUE(lines.back().starts_with("workspaces ")) << lines.back();
          }
    return lines;
  };
  const auto expected = answers(device);
  for (const auto* unknown : {"l2CacheSize", "memClockRateKHz", "smClockRateKHz", "pciDeviceId", "driverVer"}) {
    auto other = device;
    other[unknown] = 3 * other[unknown].get<std::int64_t>() + 1000;
    EXPECT_EQ(answers(other), expected) << unknown;
  }
}

}  // namespace
}  // namespace athanor::rehearse
