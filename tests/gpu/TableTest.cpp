#include "athanor/gpu/Table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <stdexcept>

namespace athanor::gpu {
namespace {

// FP32 lanes of one SM by compute capability: CUDA C++ Programming Guide, "Arithmetic Instructions" (results per clock
// cycle per multiprocessor, 32-bit floating-point multiply-add).
const std::map<std::string, int> kFp32Lanes = {{"6.0", 64},   {"6.1", 128},  {"7.0", 64},  {"7.2", 64},  {"7.5", 64},
                                               {"8.0", 64},   {"8.6", 128},  {"8.7", 128}, {"8.9", 128}, {"9.0", 128},
                                               {"10.0", 128}, {"12.0", 128}, {"12.1", 128}};

TEST(GpuTable, HoldsTheCardsPeopleHave) {
  const Table table = Table::builtin();
  EXPECT_GE(table.gpus().size(), 40u);
  for (const char* name :
       {"RTX 2080 Ti", "RTX 3060", "RTX 3090", "RTX 4090", "RTX 5090", "T4", "L4", "L40S", "A10", "A10G", "A100 40GB",
        "A100 80GB", "H100 PCIe", "H100", "H200", "B200", "V100", "P100", "AGX Orin"})
    EXPECT_NE(table.find_if_known(name), nullptr) << name;
}

TEST(GpuTable, EveryRowIsConsistent) {
  const Table table = Table::builtin();
  for (const Gpu& gpu : table.gpus()) {
    SCOPED_TRACE(gpu.name);
    EXPECT_FALSE(gpu.source.empty());
    EXPECT_TRUE(gpu.confidence == "high" || gpu.confidence == "low");
    EXPECT_GT(gpu.usable.gib(), 0.88 * gpu.memory.gib());  // ECC on GDDR6 takes 1/16, the driver a little
    EXPECT_LT(gpu.context_bytes.gib(), 0.12 * gpu.usable.gib() + 0.1);
    ASSERT_TRUE(kFp32Lanes.contains(gpu.compute_capability()));
    // The stated fp32 rate is lanes x 2 x SMs x boost clock, within what rounding and separate tensor clocks explain.
    const double derived = 2.0 * kFp32Lanes.at(gpu.compute_capability()) * gpu.sm_count * gpu.boost_hertz;
    EXPECT_NEAR(gpu.peak.fp32 / derived, 1.0, 0.03);
    for (const double rate : {gpu.peak.tf32, gpu.peak.fp16, gpu.peak.bf16})
      if (rate > 0) {
        EXPECT_GE(rate, 0.99 * gpu.peak.fp32);
      }
    if (gpu.compute_capability_major < 8) {
      EXPECT_EQ(gpu.peak.bf16 + gpu.peak.tf32 + gpu.peak.fp8, 0.0);
    }
    if (gpu.peak.bf16 > 0) {
      EXPECT_DOUBLE_EQ(gpu.peak.bf16, gpu.peak.fp16);
    }
    if (gpu.peak.fp8 > 0) {
      EXPECT_NEAR(gpu.peak.fp8 / gpu.peak.bf16, 2.0, 0.03);  // L40S: 362 and 733
    }
  }
}

TEST(GpuTable, AgreesWithPublishedFigures) {
  // Tables of the makers' whitepapers and datasheets, read apart from share/gpus.toml.
  const Table table = Table::builtin();
  EXPECT_NEAR(table.find("RTX 3090").peak.bf16, 71.2e12, 0.1e12);
  EXPECT_NEAR(table.find("RTX 4090").peak.fp16, 165.2e12, 0.1e12);
  EXPECT_NEAR(table.find("RTX 4090").peak.fp8, 330.3e12, 0.1e12);
  EXPECT_NEAR(table.find("RTX 5090").peak.bf16, 209.5e12, 0.1e12);
  EXPECT_NEAR(table.find("RTX A6000").peak.fp16, 154.8e12, 0.1e12);
  EXPECT_NEAR(table.find("RTX 6000 Ada").peak.bf16, 364.2e12, 0.1e12);
  EXPECT_NEAR(table.find("RTX PRO 6000").peak.bf16, 503.8e12, 0.1e12);
  EXPECT_EQ(table.find("A100").sm_count, 108);
  EXPECT_EQ(table.find("H100").sm_count, 132);
  EXPECT_EQ(table.find("B200").compute_capability(), "10.0");
}

TEST(GpuTable, NamesAreForgiving) {
  const Table table = Table::builtin();
  for (const char* name : {"4090", "RTX 4090", "rtx4090", "RTX-4090", "NVIDIA GeForce RTX 4090", "geforce rtx 4090"})
    EXPECT_EQ(table.find(name).name, "GeForce RTX 4090") << name;
  // What the driver itself calls them.
  EXPECT_EQ(table.find("NVIDIA A100-SXM4-80GB").name, "A100 SXM4 80GB");
  EXPECT_EQ(table.find("NVIDIA H100 80GB HBM3").name, "H100 SXM5 80GB");
  EXPECT_EQ(table.find("Tesla V100-SXM2-16GB").name, "Tesla V100 SXM2 16GB");
  EXPECT_EQ(table.find("Tesla T4").name, "Tesla T4");
  EXPECT_EQ(table.find("NVIDIA L40S").name, "L40S");
  EXPECT_NE(table.find("L40").name, table.find("L4").name);
}

TEST(GpuTable, EveryNameAndAliasFindsItsOwnCard) {
  const Table table = Table::builtin();
  for (const Gpu& gpu : table.gpus()) {
    EXPECT_EQ(&table.find(gpu.name), &gpu) << gpu.name;
    for (const auto& alias : gpu.aliases) EXPECT_EQ(&table.find(alias), &gpu) << alias;
  }
}

TEST(GpuTable, ACardOutlivesATableThatWasOnlyPassing) {
  const auto& gpu = Table::builtin().find("4090");
  EXPECT_EQ(gpu.name, "GeForce RTX 4090");  // a reference into the table would dangle here
}

TEST(GpuTable, AnUnknownNameGetsTheNearest) {
  const auto expect_meant = [](const char* name, const char* meant) {
    try {
      (void)Table::builtin().find(name);
      FAIL() << name;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(meant), std::string::npos) << error.what();
    }
  };
  expect_meant("RTX 4900", "did you mean");
  expect_meant("RTX 4099", "did you mean 'GeForce RTX 409");  // the maker's words do not drown a digit
  expect_meant("H1000", "H100");
  EXPECT_THROW((void)Table::builtin().find(""), std::invalid_argument);
  EXPECT_THROW((void)Table::builtin().find("NVIDIA"), std::invalid_argument);
}

constexpr const char* kOwn = R"([[gpu]]
name = "RTX 4090 48GB"
aliases = ["4090"]
memory_gib = 48
compute_capability = "8.9"
sm_count = 128
threads_per_sm = 1536
bandwidth_gb_per_s = 1008
tflops = { fp32 = 82.6 }
)";

TEST(GpuTable, AUsersOwnCardsAreAddedAndWin) {
  Table table = Table::builtin();
  const auto before = table.gpus().size();
  table.add(Table::from_text(kOwn, "own.toml"));
  EXPECT_EQ(table.gpus().size(), before + 1);
  const Gpu& own = table.find("4090");
  EXPECT_EQ(own.name, "RTX 4090 48GB");
  EXPECT_EQ(own.confidence, "low");
  EXPECT_DOUBLE_EQ(own.peak_for("bf16"), own.peak.fp32);
  EXPECT_EQ(own.context_bytes.count % (1 << 20), 0);
  table.add(Table::from_text(kOwn, "own.toml"));  // the same name replaces
  EXPECT_EQ(table.gpus().size(), before + 1);
}

TEST(GpuTable, MistakesNameLineAndKey) {
  const auto message = [](std::string text) -> std::string {
    try {
      (void)Table::from_text(text, "own.toml");
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  const std::string own = kOwn;
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = own;
    return text.replace(text.find(from), from.size(), to);
  };
  EXPECT_NE(message(with("sm_count = 128", "sm_count = -1")).find("sm_count"), std::string::npos);
  EXPECT_NE(message(with("\"8.9\"", "\"8,9\"")).find("compute_capability"), std::string::npos);
  EXPECT_NE(message(with("sm_count", "sm_cuont")).find("sm_count"), std::string::npos);
  EXPECT_NE(message(own + own).find("already"), std::string::npos);
  EXPECT_NE(message("x = 1").find("own.toml"), std::string::npos);
  EXPECT_NE(message("[[gpu").find("own.toml:1"), std::string::npos);
}

TEST(GpuTable, HostLinkRates) {
  // PCI-SIG: x16 gives 15.75 GB/s at 3.0, 31.5 at 4.0, 63.0 at 5.0, each way.
  EXPECT_NEAR((HostLink{3, 16}.bytes_per_second()), 15.75e9, 0.01e9);
  EXPECT_NEAR((HostLink{4, 16}.bytes_per_second()), 31.5e9, 0.02e9);
  EXPECT_NEAR((HostLink{5, 8}.bytes_per_second()), 31.5e9, 0.02e9);
  EXPECT_EQ(HostLink{}.bytes_per_second(), 0.0);
}

}  // namespace
}  // namespace athanor::gpu
