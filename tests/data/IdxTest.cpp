#include "athanor/data/Idx.h"

#include <torch/torch.h>

#include "athanor/core/Error.h"
#include "athanor/data/Open.h"
#include "data/Scratch.h"

namespace athanor::data {
namespace {

class IdxTest : public Scratch {
 protected:
  std::string refusal(const std::string& content) const {
    const auto path = write("file", content);
    return message_of<Error>([&] { static_cast<void>(read_idx(path)); });
  }
};

TEST_F(IdxTest, ReadsPlainAndGzippedBytes) {
  const auto file = idx({2, 3}, std::string("\x00\x01\x02\xFD\xFE\xFF", 6));
  const auto expected = torch::tensor({{0, 1, 2}, {253, 254, 255}}, at::kByte);
  EXPECT_TRUE(torch::equal(read_idx(write("plain", file)), expected));
  EXPECT_TRUE(torch::equal(read_idx(write("zipped", gzipped(file))), expected));
}

TEST_F(IdxTest, ReadsEveryTypeOfTheFormat) {
  const auto read = [&](char type, const std::string& data) { return read_idx(write("file", idx({1}, data, type))); };
  EXPECT_EQ(read(0x09, "\xFF").item<std::int8_t>(), -1);
  EXPECT_EQ(read(0x0B, "\x01\x02").item<std::int16_t>(), 0x0102);
  EXPECT_EQ(read(0x0C, "\xFF\xFF\xFF\xFE").item<std::int32_t>(), -2);
  EXPECT_EQ(read(0x0D, std::string("\x3F\xC0\x00\x00", 4)).item<float>(), 1.5F);  // IEEE 754, big-endian
  EXPECT_EQ(read(0x0E, std::string("\xC0\x04\x00\x00\x00\x00\x00\x00", 8)).item<double>(), -2.5);
}

TEST_F(IdxTest, RefusesWhatIsNotWhole) {
  const auto file = idx({2, 3}, "abcdef");
  const auto zipped = gzipped(file);
  for (std::size_t size = 0; size < file.size(); ++size) EXPECT_SAYS(refusal(file.substr(0, size)), "cannot read");
  for (std::size_t size = 0; size < zipped.size(); ++size) EXPECT_SAYS(refusal(zipped.substr(0, size)), "cannot read");
  auto flipped = zipped;
  flipped[zipped.size() - 6] = static_cast<char>(flipped[zipped.size() - 6] ^ 1);  // in the checksum
  EXPECT_SAYS(refusal(flipped), "damaged");
  EXPECT_SAYS(refusal(file + "x"), "goes on after");
  EXPECT_SAYS(refusal(file.substr(0, 10)), "cut short");
}

TEST_F(IdxTest, RefusesWhatIsNotIdx) {
  EXPECT_SAYS(refusal("PNG and so on"), "not an IDX file");
  EXPECT_SAYS(refusal(idx({1}, "a", 0x07)), "not an IDX file");
  EXPECT_SAYS(refusal(std::string("\0\0\x08\0", 4)), "dimensions");
  EXPECT_SAYS(refusal(idx({4000000000U, 4000000000U, 4000000000U}, "a")), "more data is announced");
  EXPECT_SAYS(refusal(gzipped(idx({4000000000U, 4000000000U}, "a"))), "more data is announced");
  EXPECT_SAYS(message_of<Error>([&] { static_cast<void>(read_idx(folder_ / "none")); }), "No such file");
  EXPECT_SAYS(message_of<Error>([&] { static_cast<void>(read_idx(folder_)); }), "folder");
}

// A folder of four IDX files: `n` training images of 2×2, four test images.
class IdxFolderTest : public Scratch {
 protected:
  void write_folder(std::uint32_t n, const std::string& labels) const {
    std::string pixels;
    for (std::uint32_t i = 0; i < 4 * n; ++i) pixels += static_cast<char>(i * 7);
    static_cast<void>(write("train-images-idx3-ubyte.gz", gzipped(idx({n, 2, 2}, pixels))));
    static_cast<void>(write("train-labels-idx1-ubyte", idx({static_cast<std::uint32_t>(labels.size())}, labels)));
    static_cast<void>(write("t10k-images.idx3-ubyte", idx({4, 2, 2}, std::string(16, '\x10'))));
    static_cast<void>(write("t10k-labels.idx1-ubyte", idx({4}, std::string("\x00\x01\x02\x01", 4))));
  }
  [[nodiscard]] Splits open_folder(const std::string& more = "") const {
    return open(table("kind = \"idx-images\"\npath = \"FOLDER\"\n" + more), 17);
  }
  template <class Exception>
  [[nodiscard]] std::string refusal(const std::string& more = "") const {
    return message_of<Exception>([&] { static_cast<void>(open_folder(more)); });
  }
};

TEST_F(IdxFolderTest, SplitsAndNormalisesByTheTrainingPart) {
  write_folder(20, std::string(20, '\x02'));
  const auto splits = open_folder("validation_fraction = 0.25");
  EXPECT_EQ(splits.train->size(), 15);
  EXPECT_EQ(splits.val->size(), 5);
  EXPECT_EQ(splits.test->size(), 4);
  EXPECT_EQ(splits.classes, 3);
  EXPECT_EQ(splits.sample_shape, (std::vector<std::int64_t>{1, 2, 2}));

  std::vector<std::int64_t> all(15);
  for (std::size_t i = 0; i < 15; ++i) all[i] = static_cast<std::int64_t>(i);
  const auto train = gather(*splits.train, all).inputs;
  EXPECT_NEAR(train.mean().item<double>(), 0.0, 1e-5);
  EXPECT_NEAR(train.std(/*unbiased=*/false).item<double>(), 1.0, 1e-5);
}

TEST_F(IdxFolderTest, CountsWhatItWouldOpen) {
  write_folder(20, std::string(20, '\x02'));
  for (const char* more : {"", "validation_fraction = 0.25", "limit = 7", "limit = 100\nvalidation_fraction = 0.33"}) {
    const auto settings = table(std::string("kind = \"idx-images\"\npath = \"FOLDER\"\n") + more);
    EXPECT_EQ(count(settings, 17), open_folder(more).train->size()) << more;
  }
}

// A rehearsal of a large data set is not to wait for its pixels.
TEST_F(IdxFolderTest, CountsByTheHeaderAlone) {
  write_folder(20, std::string(20, '\x02'));
  static_cast<void>(write("train-images-idx3-ubyte", idx({20, 2, 2}, std::string(80, 'x')).substr(0, 50)));
  const auto settings = table("kind = \"idx-images\"\npath = \"FOLDER\"\nvalidation_fraction = 0");
  EXPECT_SAYS(message_of<Error>([&] { static_cast<void>(count(settings, 17)); }), "more data is announced");
  std::filesystem::remove(folder_ / "train-images-idx3-ubyte");
  const auto zipped = gzipped(idx({20, 2, 2}, std::string(80, 'x')));
  static_cast<void>(write("train-images-idx3-ubyte.gz", zipped.substr(0, zipped.size() - 8)));
  EXPECT_EQ(count(settings, 17), 20);
}

TEST_F(IdxFolderTest, ValuesAreLibTorchsBitByBit) {
  write_folder(64, std::string(64, '\x01'));
  const auto splits = open_folder("validation_fraction = 0\nmean = [0.2860]\nstd = [0.3530]");
  EXPECT_FALSE(splits.val);
  const auto batch = gather(*splits.train, std::vector<std::int64_t>{63, 0, 5});
  const auto images = read_idx(folder_ / "train-images-idx3-ubyte.gz").unsqueeze(1);
  const auto expected =
      images.index_select(0, torch::tensor({63, 0, 5})).to(at::kFloat).div(255).sub(0.2860).div(0.3530);
  EXPECT_TRUE(torch::equal(batch.inputs, expected));
}

TEST_F(IdxFolderTest, RefusesFilesThatDoNotBelongTogether) {
  write_folder(20, std::string(19, '\x02'));
  EXPECT_SAYS(refusal<Error>(), "holds 20 images, but");
  write_folder(20, std::string(20, '\x09'));
  EXPECT_SAYS(refusal<std::invalid_argument>("classes = 3"), "has class 9");
  EXPECT_SAYS(refusal<std::invalid_argument>("classes = 3"), "test.toml:3: classes");
  static_cast<void>(write("train-images-idx3-ubyte.gz", idx({20}, std::string(20, '\0'))));
  EXPECT_SAYS(refusal<Error>(), "3 dimensions");
  static_cast<void>(write("train-images-idx3-ubyte.gz", idx({0, 2, 2}, "")));
  EXPECT_SAYS(refusal<Error>(), "holds no images");
  std::filesystem::remove(folder_ / "train-labels-idx1-ubyte");
  EXPECT_SAYS(refusal<Error>(), "lacks train-labels-idx1-ubyte");
}

TEST_F(IdxFolderTest, RefusesSettingsThatCannotBe) {
  write_folder(20, std::string(20, '\x02'));
  EXPECT_SAYS(refusal<std::invalid_argument>("validation_fraction = 1.0"), "must be >= 0 and < 1");
  EXPECT_SAYS(refusal<std::invalid_argument>("std = [0.0]"), "must be > 0");
  EXPECT_SAYS(refusal<std::invalid_argument>("mean = [0.1, 0.2]"), "1 channels");
  EXPECT_SAYS(refusal<std::invalid_argument>("limit = -1"), "limit");
  EXPECT_SAYS(message_of<std::invalid_argument>([&] { static_cast<void>(open(table("kind = \"idx-image\""), 1)); }),
              "idx-images");
  EXPECT_SAYS(message_of<Error>([&] { static_cast<void>(open(table("path = \"FOLDER/none\""), 1)); }),
              "no such folder");
  const auto splits = open_folder("limit = 10");
  EXPECT_EQ(splits.train->size() + splits.val->size(), 10);
  for (const char* size : {"0", "-3", "19"})
    EXPECT_SAYS(message_of<std::invalid_argument>([&] {
                  static_cast<void>(loader_options(table(std::string("batch_size = ") + size), 1, *splits.train));
                }),
                "batch_size");
}

TEST(FashionMnist, IsWhatItsAuthorsSay) {
  if (!std::filesystem::exists("/usr/share/datasets/fashion-mnist")) GTEST_SKIP() << "dataset-fashion-mnist is absent";
  const auto splits = open(core::Config::from_text("validation_fraction = 0.1", "test.toml"), 17);
  EXPECT_EQ(splits.train->size(), 54'000);
  EXPECT_EQ(splits.val->size(), 6'000);
  EXPECT_EQ(splits.test->size(), 10'000);
  EXPECT_EQ(splits.classes, 10);
  EXPECT_EQ(splits.class_names.size(), 10U);
  // The mean and deviation everybody uses for it.
  EXPECT_SAYS(splits.description, "mean 0.28");
  EXPECT_SAYS(splits.description, "std 0.35");
  std::vector<std::int64_t> all(10'000);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  const auto counts = torch::bincount(gather(*splits.test, all).targets);
  EXPECT_TRUE(torch::equal(counts, torch::full({10}, 1000)));
}

}  // namespace
}  // namespace athanor::data
