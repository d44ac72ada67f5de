#include "athanor/gpu/MemoryWatch.h"

#include <gtest/gtest.h>

namespace athanor::gpu {
namespace {

using namespace athanor::literals;

TEST(MemoryWatch, ACpuRunIsWatchedByItsResidentMemory) {
  MemoryWatch watch;
  const auto values = watch.read();
  EXPECT_GT(values.at("memory_resident"), 0);
  EXPECT_GE(values.at("memory_highest"), values.at("memory_resident"));
  EXPECT_FALSE(values.contains("memory_allocated"));
}

TEST(MemoryWatch, AGpuRunByItsAllocatorAndTheDriver) {
  Bytes held = 3_GiB;
  MemoryWatch watch([&] { return MemoryWatch::Allocator{1_GiB, held}; }, [] { return std::optional<Bytes>(2_GiB); });
  EXPECT_EQ(watch.read().at("memory_process"), 2.0 * (1 << 30));
  held = 1_GiB;
  const auto later = watch.read();
  EXPECT_EQ(later.at("memory_reserved"), 1.0 * (1 << 30));
  EXPECT_EQ(later.at("memory_highest"), 3.0 * (1 << 30));  // is remembered
  MemoryWatch hidden([] { return MemoryWatch::Allocator{}; }, [] { return std::optional<Bytes>(); });
  EXPECT_FALSE(hidden.read().contains("memory_process"));
}

TEST(MemoryWatch, AForecastIsCalledWrongBeyondFivePercent) {
  EXPECT_EQ(forecast_verdict(100_MiB, 105_MiB), "");
  EXPECT_EQ(forecast_verdict(100_MiB, 95_MiB), "");
  EXPECT_NE(forecast_verdict(100_MiB, 106_MiB).find("6 % more"), std::string::npos);
  EXPECT_NE(forecast_verdict(100_MiB, 80_MiB).find("20 % less"), std::string::npos);
  EXPECT_EQ(forecast_verdict(0_MiB, 80_MiB), "");
}

}  // namespace
}  // namespace athanor::gpu
