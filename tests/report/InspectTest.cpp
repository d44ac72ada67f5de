#include "athanor/report/Inspect.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "athanor/core/Error.h"
#include "athanor/core/Sha256.h"
#include "report/TensorValues.h"
#include "support/TemporaryFolder.h"

namespace athanor::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A safetensors file of float vectors, written from the format's description.
void write_tensors(const fs::path& path, const std::map<std::string, std::vector<float>>& tensors) {
  json header;
  std::string data;
  for (const auto& [name, values] : tensors) {
    const std::size_t begin = data.size();
    data.resize(begin + values.size() * 4);
    std::memcpy(data.data() + begin, values.data(), values.size() * 4);
    header[name] = {{"dtype", "F32"}, {"shape", {values.size()}}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  const std::uint64_t length = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), 8);
  file << text << data;
}

void write_checkpoint(const fs::path& folder, const std::map<std::string, std::vector<float>>& tensors, int step) {
  fs::create_directories(folder);
  write_tensors(folder / "model.safetensors", tensors);
  std::ofstream(folder / "state.json") << json{{"epoch", step / 10}, {"loader", {{"seed", 17}}}}.dump();
  json files;
  for (const char* name : {"model.safetensors", "state.json"})
    files[name] = {{"size", fs::file_size(folder / name)}, {"sha256", core::sha256_of_file(folder / name)}};
  std::ofstream(folder / "MANIFEST.json")
      << json{{"format", 1}, {"step", step}, {"metric", 0.5}, {"files", files}}.dump();
}

const float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Inspect, AWholeCheckpoint) {
  const test::TemporaryFolder folder;
  write_checkpoint(folder / "c", {{"w", {1, 2, 3}}, {"b", {kNan, 1}}}, 20);
  const Inspection result = inspect(folder / "c");
  EXPECT_TRUE(result.whole());
  EXPECT_EQ(result.step, 20);
  EXPECT_EQ(result.metric, 0.5);
  ASSERT_EQ(result.files.size(), 2u);
  EXPECT_EQ(result.files[0].tensors.size(), 2u);
  EXPECT_EQ(result.files[0].elements, 5);
  EXPECT_EQ(result.files[0].not_finite, 1);
}

TEST(Inspect, EveryKindOfDamageIsFound) {
  const test::TemporaryFolder folder;
  const auto damaged = [&](const std::string& name, auto&& damage) {
    write_checkpoint(folder / name, {{"w", {1, 2, 3}}}, 20);
    damage(folder / name);
    const Inspection result = inspect(folder / name);
    EXPECT_FALSE(result.whole()) << name;
    return result.problems.empty() ? std::string() : result.problems.front();
  };
  EXPECT_NE(
      damaged("longer", [](const fs::path& c) { std::ofstream(c / "state.json", std::ios::app) << " "; }).find("bytes"),
      std::string::npos);
  EXPECT_NE(damaged("changed",
                    [](const fs::path& c) {
                      std::fstream file(c / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
                      file.seekp(-1, std::ios::end);
                      file.put('\x7F');
                    })
                .find("SHA-256"),
            std::string::npos);
  EXPECT_NE(damaged("missing", [](const fs::path& c) { fs::remove(c / "state.json"); }).find("missing"),
            std::string::npos);
  EXPECT_NE(damaged("unfinished", [](const fs::path& c) { fs::remove(c / "MANIFEST.json"); }).find("not finished"),
            std::string::npos);
  EXPECT_NE(damaged("escaping",
                    [](const fs::path& c) {
                      std::ofstream(c / "MANIFEST.json")
                          << R"({"files": {"../../etc/passwd": {"size": 1, "sha256": ""}}})";
                    })
                .find("no file of this folder"),
            std::string::npos);
  EXPECT_FALSE(damaged("nonsense", [](const fs::path& c) {
                 std::ofstream(c / "MANIFEST.json") << "{\"files\": {\"state.json\": 3}}";
               }).empty());
}

TEST(Inspect, ARunListsItsCheckpointsNewestFirst) {
  const test::TemporaryFolder folder;
  write_checkpoint(folder / "checkpoints/step-00000010", {{"w", {1}}}, 10);
  write_checkpoint(folder / "checkpoints/step-00000020", {{"w", {2}}}, 20);
  fs::remove(folder / "checkpoints/step-00000020/state.json");
  const Inspection result = inspect(folder.path());
  ASSERT_EQ(result.checkpoints.size(), 2u);
  EXPECT_EQ(result.checkpoints[0].step, 20);
  EXPECT_FALSE(result.checkpoints[0].whole());
  EXPECT_TRUE(result.whole());
  // Comparing takes the newest whole one.
  write_checkpoint(folder / "other", {{"w", {1}}}, 10);
  EXPECT_TRUE(compare(result, inspect(folder / "other")).equal());
}

TEST(Inspect, WhatIsNoCheckpointIsAnError) {
  const test::TemporaryFolder folder;
  EXPECT_THROW(inspect(folder / "absent"), Error);
  EXPECT_THROW(inspect(folder.path()), Error);
  std::ofstream(folder / "text.safetensors") << "not tensors";
  EXPECT_FALSE(inspect(folder / "text.safetensors").whole());
}

TEST(Compare, SaysWhichTensorsDifferAndByHowMuch) {
  const test::TemporaryFolder folder;
  write_checkpoint(folder / "a", {{"same", {1, kNan}}, {"moved", {3, 4}}, {"gone", {1}}, {"shape", {1, 2}}}, 10);
  write_checkpoint(folder / "b", {{"same", {1, kNan}}, {"moved", {3, 4.5}}, {"new", {1}}, {"shape", {1, 2, 3}}}, 20);
  const Comparison result = compare(inspect(folder / "a"), inspect(folder / "b"));
  EXPECT_EQ(result.equal_tensors, 1u);
  ASSERT_EQ(result.differences.size(), 4u);
  const auto& moved = result.differences.back();  // what cannot be compared comes first
  EXPECT_EQ(moved.name, "moved");
  EXPECT_DOUBLE_EQ(moved.largest, 0.5);
  EXPECT_DOUBLE_EQ(moved.relative, 0.1);  // 0.5 / |(3, 4)|
  EXPECT_EQ(moved.differing, 1);
  EXPECT_EQ(result.state, std::vector<std::string>{"epoch: 1 against 2"});
}

TEST(Compare, AFileByItselfMeetsACheckpointsModel) {
  const test::TemporaryFolder folder;
  write_checkpoint(folder / "a", {{"w", {1, 2}}}, 10);
  write_tensors(folder / "best.safetensors", {{"w", {1, 2}}});
  EXPECT_TRUE(compare(inspect(folder / "best.safetensors"), inspect(folder / "a")).equal());
  EXPECT_TRUE(compare(inspect(folder / "a"), inspect(folder / "best.safetensors")).equal());
}

TEST(TensorValues, HalfPrecisionIsReadAsTheFormatsSay) {
  const auto value = [](const char* dtype, std::uint16_t code) {
    return reader_of(dtype)(reinterpret_cast<const std::byte*>(&code), 0);
  };
  EXPECT_EQ(value("F16", 0x3C00), 1.0);
  EXPECT_EQ(value("F16", 0xC000), -2.0);
  EXPECT_EQ(value("F16", 0x7BFF), 65504.0);               // the largest
  EXPECT_EQ(value("F16", 0x0001), std::ldexp(1.0, -24));  // the smallest
  EXPECT_TRUE(std::isinf(value("F16", 0x7C00)));
  EXPECT_TRUE(std::isnan(value("F16", 0x7E00)));
  EXPECT_EQ(value("BF16", 0x3F80), 1.0);
  EXPECT_EQ(value("BF16", 0xC040), -3.0);
  EXPECT_THROW((void)reader_of("F4"), std::invalid_argument);
}

}  // namespace
}  // namespace athanor::report
