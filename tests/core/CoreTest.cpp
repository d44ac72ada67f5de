#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <set>
#include <span>
#include <vector>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Bytes.h"
#include "athanor/core/Error.h"
#include "athanor/core/Format.h"
#include "athanor/core/Nearest.h"
#include "athanor/core/Random.h"
#include "athanor/core/Sha256.h"

namespace athanor::core {
namespace {

std::filesystem::path scratch(const std::string& name) {
  const auto folder = std::filesystem::temp_directory_path() / ("athanor-core-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  return folder / name;
}

TEST(Bytes, ReadsUnitsAndPrintsThreeDigits) {
  EXPECT_EQ(Bytes::parse("12GiB").count, 12LL << 30);
  EXPECT_EQ(Bytes::parse("1.5 GB").count, 1'500'000'000);
  EXPECT_EQ(Bytes::parse("512").count, 512);
  EXPECT_EQ(Bytes{512}.text(), "512 B");
  EXPECT_EQ(Bytes{1023}.text(), "0.999 KiB");
  EXPECT_EQ(Bytes{(12LL << 30)}.text(), "12.0 GiB");
  for (const char* bad : {"", "GiB", "-1GiB", "1 parsec", "1e30GiB", "nan"})
    EXPECT_THROW(Bytes::parse(bad), std::invalid_argument) << bad;
}

TEST(Format, KeepsThreeSignificantDigits) {
  EXPECT_EQ(significant(0.0031249), "0.00312");
  EXPECT_EQ(significant(9.996), "10.0");
  EXPECT_EQ(significant(123456), "123456");
  EXPECT_EQ(significant(1e-7), "1.00e-07");
  EXPECT_EQ(significant(std::nan("")), "nan");
  EXPECT_EQ(duration(200), "3 min 20 s");
  EXPECT_EQ(duration(7500), "2 h 05 min");
  EXPECT_EQ(grouped(-1234567), "-1,234,567");
  EXPECT_EQ(grouped(123), "123");
}

TEST(Nearest, FindsTheMeantNameAndNothingFarAway) {
  const std::vector<std::string> names{"adamw", "sgd", "rmsprop"};
  EXPECT_EQ(nearest("adamW", names), "adamw");
  EXPECT_EQ(nearest("smsprop", names), "rmsprop");
  EXPECT_EQ(nearest("mpl", std::vector<std::string>{"gpt", "mlp"}), "mlp") << "two letters changed about are one slip";
  EXPECT_EQ(nearest("lookahead", names), "");
  const std::vector<std::string> schedules{"join", "cosine_annealing", "step"};
  EXPECT_EQ(nearest("cosin", schedules), "cosine_annealing") << "its beginning, though 'join' is two letters away";
  EXPECT_EQ(nearest("jon", schedules), "join");
}

TEST(AtomicFile, ReplacesWholeAndLeavesTheOldOneOnFailure) {
  const auto path = scratch("file");
  write_atomically(path, "old");
  write_atomically(path, "new");
  EXPECT_EQ(read_file(path), "new");
  EXPECT_THROW(read_file(path, 2), Error);
  EXPECT_THROW(read_file(path.parent_path()), Error);
  EXPECT_THROW(write_atomically(scratch("no") / "such" / "folder", "x"), Error);
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path.parent_path())) ++files;
  EXPECT_EQ(files, 1U) << "nothing is left beside it";
  std::filesystem::remove_all(path.parent_path());
}

// FIPS 180-2, appendix B.1.
TEST(Sha256, GivesTheStandardsDigest) {
  Sha256 digest;
  digest.update(std::as_bytes(std::span("abc", 3)));
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(digest.finish(), abc);
  digest.update(std::as_bytes(std::span("a", 1)));
  digest.update(std::as_bytes(std::span("bc", 2)));
  EXPECT_EQ(digest.finish(), abc);
}

// Known answers of the authors' Random123 (kat_vectors): counter and key all zero.
TEST(RandomStream, IsPhilox) {
  RandomStream random(0, 0);
  EXPECT_EQ(random.next(), 0x6627e8d5U);
  EXPECT_EQ(random.next(), 0xe169c58dU);
  EXPECT_EQ(random.next(), 0xbc57ac4cU);
  EXPECT_EQ(random.next(), 0x9b00dbd8U);
}

TEST(RandomStream, SeekGoesToAnyPosition) {
  RandomStream straight(5, 7);
  std::vector<std::uint32_t> numbers(23);
  for (auto& number : numbers) number = straight.next();
  for (std::uint64_t from = 0; from < numbers.size(); ++from) {
    RandomStream random(5, 7);
    random.seek(from);
    for (std::size_t i = from; i < numbers.size(); ++i) ASSERT_EQ(random.next(), numbers[i]) << from;
  }
}

TEST(RandomStream, PermutationsAreWholeAndUniform) {
  std::vector<int> first(5, 0);
  for (std::uint64_t epoch = 0; epoch < 5000; ++epoch) {
    const auto order = permutation(5, 17, epoch);
    ASSERT_EQ(std::set<std::int64_t>(order.begin(), order.end()).size(), 5U);
    ++first[static_cast<std::size_t>(order[0])];
  }
  for (const int count : first) EXPECT_NEAR(count, 1000, 150);  // five standard deviations
}

}  // namespace
}  // namespace athanor::core
