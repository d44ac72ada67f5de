#include "athanor/gpu/Nvml.h"

#include <gtest/gtest.h>

#include "athanor/gpu/ProcessMemory.h"

namespace athanor::gpu {
namespace {

using namespace athanor::literals;

Reading reading_of(const std::string& variant) {
  return Nvml({std::string(ATHANOR_STANDINS) + "/libnvml_" + variant + ".so"}).read();
}

TEST(Nvml, WithoutADriverSaysSoAndFailsNothing) {
  const Nvml nvml({"/nowhere/libnvidia-ml.so.1"});
  EXPECT_FALSE(nvml.available());
  const Reading reading = nvml.read();
  EXPECT_TRUE(reading.cards.empty());
  EXPECT_NE(reading.message.find("no NVIDIA driver"), std::string::npos);
  EXPECT_EQ(reading.message.find('\n'), std::string::npos);
  EXPECT_FALSE(nvml.own_memory().has_value());
}

TEST(Nvml, ADriverThatDoesNotAnswerIsNamed) {
  EXPECT_NE(reading_of("unloaded").message.find("not loaded"), std::string::npos);
  EXPECT_NE(reading_of("mismatch").message.find("versions differ"), std::string::npos);
  EXPECT_NE(reading_of("cardless").message.find("no card"), std::string::npos);
}

TEST(Nvml, OneCardIsReadWhole) {
  const Reading reading = reading_of("one");
  EXPECT_EQ(reading.message, "");
  EXPECT_EQ(reading.driver, "550.163.01");
  EXPECT_EQ(reading.cuda, "12.4");
  ASSERT_EQ(reading.cards.size(), 1u);
  const Card& card = reading.cards[0];
  EXPECT_EQ(card.problem, "");
  EXPECT_EQ(card.name, "NVIDIA GeForce RTX 4090");
  EXPECT_EQ(card.bus_id, "0000:41:00.0");
  EXPECT_EQ(card.memory_total, Bytes{24564_MiB});
  EXPECT_EQ(card.memory_used, Bytes{512_MiB});
  EXPECT_EQ(card.memory_reserved, Bytes{450_MiB});
  EXPECT_EQ(card.busy_percent, 97);
  EXPECT_EQ(card.celsius, 60);
  EXPECT_DOUBLE_EQ(card.watts.value(), 401.234);
  EXPECT_DOUBLE_EQ(card.watts_limit.value(), 450);
  EXPECT_EQ(card.sm_megahertz, 2520);
  EXPECT_EQ(card.memory_megahertz, 10501);
  EXPECT_EQ(card.pcie_generation, 4);
  EXPECT_EQ(card.pcie_width, 16);
  EXPECT_FALSE(card.ecc.has_value());  // GeForce: not supported is not the same as off
  EXPECT_FALSE(card.mig.has_value());
  EXPECT_EQ(card.slowed_by, std::vector<std::string>{"power cap"});
}

// The same two processes whatever the driver's layout of a record is: 16, 24 or 32 bytes.
class ProcessLayout : public testing::TestWithParam<const char*> {};

TEST_P(ProcessLayout, GivesTheSameProcesses) {
  const Reading reading = reading_of(GetParam());
  ASSERT_EQ(reading.cards.size(), 1u);
  const auto& processes = reading.cards[0].processes;
  ASSERT_EQ(processes.size(), 2u);
  EXPECT_EQ(processes[0].pid, 4194305);  // largest first
  EXPECT_EQ(processes[0].memory, Bytes{7000_MiB});
  EXPECT_EQ(processes[0].command, "");  // not in /proc
  EXPECT_EQ(processes[1].pid, 1);
  EXPECT_EQ(processes[1].memory, Bytes{386_MiB});
  EXPECT_EQ(processes[1].user, "root");
  EXPECT_FALSE(processes[1].mig_instance.has_value());
}

INSTANTIATE_TEST_SUITE_P(Drivers, ProcessLayout, testing::Values("one", "old", "oldest", "r535", "r575"));

TEST(Nvml, AnOldDriverStillGivesMemory) {
  const Card card = reading_of("old").cards.at(0);
  EXPECT_EQ(card.memory_used, Bytes{962_MiB});  // the first version counts the driver's own as used
  EXPECT_FALSE(card.memory_reserved.has_value());
  EXPECT_EQ(card.bus_id, "0000:41:00.0");
}

TEST(Nvml, ANewDriversTemperature) {
  EXPECT_EQ(reading_of("r575").cards.at(0).celsius, 33);
}

TEST(Nvml, EightCards) {
  const Reading reading = reading_of("eight");
  ASSERT_EQ(reading.cards.size(), 8u);
  for (unsigned i = 0; i < 8; ++i) {
    EXPECT_EQ(reading.cards[i].index, i);
    EXPECT_EQ(reading.cards[i].memory_used, (Bytes{(512 + 2900 * static_cast<std::int64_t>(i)) * 1024 * 1024}));
    EXPECT_EQ(reading.cards[i].ecc, true);
    EXPECT_EQ(reading.cards[i].ecc_uncorrected, 3u);
  }
}

TEST(Nvml, MigSlicesAreDevicesOfTheirOwn) {
  const Card card = reading_of("mig").cards.at(0);
  EXPECT_EQ(card.mig, true);
  EXPECT_FALSE(card.busy_percent.has_value());
  ASSERT_EQ(card.slices.size(), 2u);  // slots 0 and 2; 1 is empty
  EXPECT_EQ(card.slices[1].index, 2u);
  EXPECT_EQ(card.slices[1].gpu_instance, 2u);
  EXPECT_EQ(card.slices[0].memory_total, Bytes{40192_MiB});
  EXPECT_EQ(card.slices[1].memory_used, Bytes{2048_MiB});
  EXPECT_NE(card.slices[0].uuid.find("MIG-"), std::string::npos);
  ASSERT_EQ(card.processes.size(), 2u);
  EXPECT_EQ(card.processes[1].mig_instance, 7u);
}

TEST(Nvml, WhatIsDeniedIsMissingAndSaid) {
  const Card card = reading_of("denied").cards.at(0);
  EXPECT_TRUE(card.processes.empty());
  EXPECT_NE(card.problem.find("permission denied"), std::string::npos);
  EXPECT_FALSE(card.watts.has_value());
  EXPECT_EQ(card.memory_used, Bytes{512_MiB});
  EXPECT_FALSE(reading_of("hidden").cards.at(0).processes.at(0).memory.has_value());
}

TEST(Nvml, ACardOffTheBusLeavesTheOthers) {
  for (const auto& [variant, gone, cards] : {std::tuple{"lost", 1u, 3u}, std::tuple{"lost_handle", 0u, 2u}}) {
    const Reading reading = reading_of(variant);
    ASSERT_EQ(reading.cards.size(), cards);
    for (unsigned i = 0; i < cards; ++i) {
      EXPECT_EQ(reading.cards[i].problem, i == gone ? "the card has fallen off the bus" : "") << variant << i;
      EXPECT_EQ(reading.cards[i].memory_total.has_value(), i != gone);
    }
  }
}

TEST(ProcessMemory, GrowsWithWhatIsTouched) {
  const MemoryReading before = read_process_memory();
  EXPECT_GT(before.resident.count, 0);
  EXPECT_GE(before.resident_peak, before.resident);
  constexpr std::size_t kSize = 64 << 20;
  std::vector<char> block(kSize, 1);
  const MemoryReading during = read_process_memory();
  EXPECT_GE(during.resident.count - before.resident.count, static_cast<std::int64_t>(kSize) * 9 / 10);
  block = {};
  EXPECT_GE(read_process_memory().resident_peak, during.resident);
}

}  // namespace
}  // namespace athanor::gpu
