#include "athanor/store/Safetensors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <torch/torch.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Error.h"
#include "athanor/core/SafetensorsHeader.h"
#include "athanor/core/Sha256.h"

namespace athanor::store {
namespace {

class SafetensorsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("athanor-store-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::filesystem::path file() const { return folder_ / "t.safetensors"; }

  // A file with the JSON given and `data` bytes of data.
  void write_raw(const std::string& json, std::size_t data, std::uint64_t length_offset = 0) const {
    const std::uint64_t length = json.size() + length_offset;
    std::string content(8, '\0');
    std::memcpy(content.data(), &length, 8);
    std::ofstream(file(), std::ios::binary) << content << json << std::string(data, '\0');
  }

  [[nodiscard]] std::string refusal() const {
    try {
      load_safetensors(file());
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }

  [[nodiscard]] std::size_t files_in_folder() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }

  std::filesystem::path folder_;
};

TEST_F(SafetensorsTest, GivesBackWhatWasSavedInEveryDtypeAndLayout) {
  torch::manual_seed(1);
  NamedTensors tensors;
  for (const auto type : {at::kByte, at::kBool, at::kHalf, at::kBFloat16, at::kShort, at::kFloat, at::kInt, at::kDouble,
                          at::kLong, at::kChar})
    tensors.emplace_back(toString(type), (torch::rand({3, 5}) * 2).to(type));
  tensors.emplace_back("scalar", torch::tensor(2.5));
  tensors.emplace_back("empty", torch::zeros({0, 3}));
  tensors.emplace_back("transposed", torch::rand({4, 6}).t());
  tensors.emplace_back("channels.last", torch::rand({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast));
  tensors.emplace_back("strided", torch::rand({10, 6}).slice(0, 1, 9, 2));
  tensors.emplace_back("weird \"name\" \n ü", torch::ones({1}));
  save_safetensors(file(), tensors, {{"format", "pt"}, {"step", "12"}});

  const auto loaded = load_safetensors(file());
  EXPECT_EQ(loaded.tensors.size(), tensors.size());
  EXPECT_EQ(loaded.metadata.at("step"), "12");
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(loaded.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(torch::equal(loaded.at(name), tensor)) << name;
    EXPECT_TRUE(loaded.at(name).is_contiguous()) << name;
  }
  EXPECT_EQ(files_in_folder(), 1U);
}

TEST_F(SafetensorsTest, LargeTensorsOfAnyLayoutAreWrittenInPieces) {
  torch::manual_seed(2);
  const auto big = torch::rand({3000, 3000});  // 36 MB: more than one piece
  const NamedTensors tensors{{"plain", big}, {"transposed", big.t()}, {"one row", big.t().unsqueeze(0)}};
  save_safetensors(file(), tensors);
  const auto loaded = load_safetensors(file());
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(torch::equal(loaded.at(name), tensor)) << name;
}

TEST_F(SafetensorsTest, DigestIsTheFiles) {
  const auto saved =
      save_safetensors(file(), {{"a", torch::rand({5'000'000})}, {"b", torch::rand({7, 3}).t()}}, {}, {.digest = true});
  EXPECT_EQ(saved.sha256, core::sha256_of_file(file()));
  EXPECT_EQ(saved.bytes, std::filesystem::file_size(file()));
  EXPECT_EQ(save_safetensors(file(), {{"a", torch::ones({1})}}).sha256, "");
}

TEST_F(SafetensorsTest, MappedTensorsOutliveTheFileAndNeverWriteToIt) {
  save_safetensors(file(), {{"a", torch::zeros({1000})}});
  auto first = load_safetensors(file()).at("a");
  first.fill_(1);
  EXPECT_TRUE(torch::equal(load_safetensors(file()).at("a"), torch::zeros({1000})));
  save_safetensors(file(), {{"a", torch::full({1000}, 3.0F)}});
  std::filesystem::remove(file());
  EXPECT_TRUE(torch::equal(first, torch::ones({1000})));
}

TEST_F(SafetensorsTest, RefusesTensorsItCannotWrite) {
  EXPECT_THROW(save_safetensors(file(), {{"a", at::Tensor()}}), std::invalid_argument);
  EXPECT_THROW(save_safetensors(file(), {{"a", torch::eye(3).to_sparse()}}), std::invalid_argument);
  EXPECT_THROW(save_safetensors(file(), {{"a", torch::ones({2}, at::kComplexFloat)}}), std::invalid_argument);
  EXPECT_THROW(save_safetensors(file(), {{"a", torch::ones({1})}, {"a", torch::ones({1})}}), std::invalid_argument);
  EXPECT_THROW(save_safetensors(file(), {{"__metadata__", torch::ones({1})}}), std::invalid_argument);
  EXPECT_EQ(files_in_folder(), 0U);
}

TEST_F(SafetensorsTest, AFullDiskLeavesTheOldFileWhole) {
  const auto old = torch::arange(100);
  save_safetensors(file(), {{"a", old}});
  // A limit on the size of files is a full disk to the writer.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{1 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_THROW(save_safetensors(file(), {{"a", torch::zeros({1 << 20})}}, {}, {.digest = true}), Error);
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_TRUE(torch::equal(load_safetensors(file()).at("a"), old));
  EXPECT_EQ(files_in_folder(), 1U) << "nothing is left beside it";
  EXPECT_THROW(save_safetensors(folder_ / "no" / "such", {{"a", old}}), Error);
}

TEST_F(SafetensorsTest, MissingTensorNamesTheNearest) {
  save_safetensors(file(), {{"layers.0.weight", torch::ones({1})}});
  const auto loaded = load_safetensors(file());
  EXPECT_FALSE(loaded.contains("layers.0.wieght"));
  try {
    static_cast<void>(loaded.at("layers.0.wieght"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'layers.0.weight'"), std::string::npos) << error.what();
  }
}

TEST_F(SafetensorsTest, AFileCutAnywhereIsRefused) {
  save_safetensors(file(), {{"a", torch::ones({4})}, {"b", torch::ones({3}, at::kLong)}});
  const auto whole = core::read_file(file());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    std::ofstream(file(), std::ios::binary) << whole.substr(0, size);
    EXPECT_NE(refusal(), "accepted") << size;
    EXPECT_THROW(core::read_safetensors_header(file()), Error) << size;
  }
  std::ofstream(file(), std::ios::binary) << whole << 'x';
  EXPECT_NE(refusal(), "accepted") << "bytes after the last tensor";
}

struct Hostile {
  const char* json;
  std::size_t data;
  const char* expected;
};

TEST_F(SafetensorsTest, HostileHeadersAreRefusedWithTheReason) {
  const std::vector<Hostile> files{
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       8, "overlaps"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "hole"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8, "end at byte"},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", 8, "outside the file"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}})", 8, "outside the file"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "disagrees"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0, "disagrees"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "disagrees"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", 4, "too large"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "negative"},
      {R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4, "fraction"},
      {R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4, "unknown dtype"},
      {R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, "lacks"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "twice"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       4, "twice"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "two numbers"},
      {R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4, "array"},
      {R"({"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}})", 4, "array"},
      {R"({"__metadata__":{"a":{"b":"c"}}})", 0, "object"},
      {R"({"__metadata__":{"a":1}})", 0, "number"},
      {R"([1])", 0, "array"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4])", 4, "not JSON"},
      {R"(null)", 0, "null"},
  };
  for (const auto& hostile : files) {
    write_raw(hostile.json, hostile.data);
    EXPECT_NE(refusal().find(hostile.expected), std::string::npos) << hostile.json << " -> " << refusal();
  }
  write_raw("{}", 0, std::uint64_t{1} << 62);
  EXPECT_NE(refusal().find("not a safetensors file"), std::string::npos);
  write_raw(std::string(1 << 20, '['), 0);
  EXPECT_NE(refusal().find("array"), std::string::npos);
}

TEST_F(SafetensorsTest, MisalignedTensorsOfOtherWritersAreRead) {
  write_raw(
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})",
      9);
  EXPECT_TRUE(torch::equal(load_safetensors(file()).at("b"), torch::zeros({2})));
}

}  // namespace
}  // namespace athanor::store
