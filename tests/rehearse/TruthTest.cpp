// Against real GPUs: peaks that others recorded with torch.cuda.memory._dump_snapshot, rehearsed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "athanor/rehearse/Rehearse.h"
#include "rehearse/TransformerLm.h"

namespace athanor::rehearse {
namespace {

using test::TransformerLm;
using test::TransformerShape;

std::filesystem::path truth() {
  if (const char* folder = std::getenv("ATHANOR_TRUTH")) return folder;
  return std::filesystem::path(ATHANOR_SOURCE_DIR) / ".." / "shared" / "truth";
}

// What index.json says of the one recording whose path contains `part`.
nlohmann::json recording(const std::string& part) {
  std::ifstream file(truth() / "snapshots" / "index.json");
  if (!file) return nullptr;
  for (const auto& entry : nlohmann::json::parse(file))
    if (entry["path"].get<std::string>().find(part) != std::string::npos) return entry;
  return nullptr;
}

at::Tensor tokens(std::int64_t batches, std::int64_t context, torch::Device device) {
  return torch::randint(0, 10000, {batches, 4, context}, torch::TensorOptions().dtype(torch::kLong).device(device));
}

constexpr int warm_up = 5;

TransformerShape medium(std::int64_t context) {
  return {context, 1024, 4096, 24, 16};
}

// The machine's addresses are those of WSL.
Options options(int steps) {
  return {.gpu = "A100 80GB", .steps = steps, .version = {2, 11}, .addresses = allocator::AddressOrder::rising};
}

// Where the recordings' segments lie. Until the first product the driver hands out rising addresses, and takes 2 MiB
// between the parameters and what follows; then cuBLAS comes and takes 240 MiB, and a lower stretch is there too.
std::function<allocator::Place(std::int64_t, bool)> recorded_places() {
  struct State {
    std::uint64_t low = 0x704400000, low_end = 0x710000000, high = low_end;
    int taken = 0;
  };
  return [state = State{}](std::int64_t size, bool) mutable {
    constexpr int parameters = 93;  // segments
    const auto bytes = static_cast<std::uint64_t>(size);
    if (state.taken == parameters) state.high += 2 << 20;
    if (state.taken == parameters + 1) state.high += 240 << 20;
    auto& next = state.taken++ > parameters && state.low + bytes <= state.low_end ? state.low : state.high;
    return allocator::Place{std::exchange(next, next + bytes)};
  };
}

Forecast inference(std::int64_t context) {
  return rehearse(options(warm_up + 1), [&](torch::Device device, Stage& stage) {
    const TransformerLm model(medium(context), device);
    const auto warm = tokens(warm_up, context, device);
    const auto measured = tokens(1, context, device);
    const c10::InferenceMode no_gradients;
    while (stage.next_step()) {
      const auto& batch = stage.step() <= warm_up ? warm[stage.step() - 1] : measured[0];
      model.forward(batch);
    }
  });
}

Forecast training(std::int64_t context) {
  return rehearse(options(warm_up + 1), [&](torch::Device device, Stage& stage) {
    TransformerLm model(medium(context), device);
    const auto warm = tokens(warm_up, context, device);
    const auto measured = tokens(1, context, device);
    const auto warm_targets = tokens(warm_up, context, device);
    const auto measured_targets = tokens(1, context, device);
    at::Tensor output, loss;
    while (stage.next_step()) {
      const int i = stage.step() - 1;
      const bool last = i == warm_up;
      if (last) {
        output.reset();
        loss.reset();
      }
      output = model.forward(last ? measured[0] : warm[i]);
      loss = test::lm_cross_entropy(output, last ? measured_targets[0] : warm_targets[i]);
      loss.backward();
      model.adamw();
      if (!last) model.zero_grad();
    }
  });
}

struct Most {
  std::int64_t allocated = 0;  ///< In the last step, which is the one that was recorded.
  std::int64_t reserved = 0;
};

Most most(const Ledger& ledger, const allocator::DeviceOptions& options) {
  allocator::CachingAllocator model(options);
  std::vector<allocator::Address> addresses(ledger.blocks.size());
  Most most;
  for (const auto& event : ledger.events) {
    const auto& block = ledger.blocks[event.block];
    if (event.free)
      model.free(addresses[event.block]);
    else
      addresses[event.block] = model.allocate(block.requested, block.stream).value();
    if (event.step == warm_up + 1) most.allocated = std::max(most.allocated, model.allocated());
  }
  most.reserved = model.peak_reserved();
  return most;
}

class Truth : public testing::TestWithParam<std::pair<std::string, std::int64_t>> {};

TEST_P(Truth, PeaksAreThoseOfTheGpu) {
  const auto& [kind, context] = GetParam();
  const auto recorded = recording("medium_" + std::to_string(context) + "_" + kind);
  if (recorded.is_null()) GTEST_SKIP() << "skipped: no recordings in " << truth();
  const auto forecast = kind == "training" ? training(context) : inference(context);
  const auto allocated = recorded["peak_alloc"].get<std::int64_t>();
  const auto reserved = recorded["peak_res"].get<std::int64_t>();
  const auto& peak = forecast.peak;
  EXPECT_LE(peak.reserved.low, reserved);
  EXPECT_GE(peak.reserved.high, reserved);
  const auto here = most(forecast.ledger, {.version = {2, 11}, .order = allocator::AddressOrder::rising});
  EXPECT_NEAR(static_cast<double>(here.allocated), static_cast<double>(allocated), 1 << 19);
  // Which of two equal blocks is taken depends on their addresses: with those that were recorded nothing is left over.
  const auto there = most(forecast.ledger, {.version = {2, 11}, .place = recorded_places()});
  EXPECT_EQ(there.allocated, allocated);
  EXPECT_EQ(there.reserved, reserved);
  if (std::getenv("ATHANOR_PRINT") != nullptr)
    std::cout << kind << context << ' ' << here.allocated << ' ' << peak.reserved.value << ' ' << there.allocated << ' '
              << there.reserved << '\n';
}

INSTANTIATE_TEST_SUITE_P(Medium, Truth,
                         testing::Values(std::pair("inference", 128), std::pair("inference", 256),
                                         std::pair("training", 128), std::pair("training", 256)),
                         [](const auto& test_case) {
                           return test_case.param.first + std::to_string(test_case.param.second);
                         });

}  // namespace
}  // namespace athanor::rehearse
