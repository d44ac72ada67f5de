#include <gtest/gtest.h>

#include <filesystem>

#include "athanor/allocator/Replay.h"
#include "athanor/core/AtomicFile.h"
#include "athanor/core/Error.h"

namespace athanor::allocator {
namespace {

// What the fuzzer found worth keeping (tests/fuzz): every file is either read and replayed, or refused in one line.
TEST(Corpus, EveryFileIsReplayedOrRefusedInWords) {
  std::size_t files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(ATHANOR_SOURCE_DIR) / "tests/fuzz/corpus")) {
    ++files;
    const std::string bytes = core::read_file(entry.path());
    try {
      const Snapshot snapshot = parse_snapshot(bytes, entry.path().filename().string());
      const History history = history_of(snapshot, busiest_device(snapshot));
      (void)what_if(history, history.settings, std::int64_t{8} << 30);
      (void)replay(snapshot, history);
    } catch (const Error& error) {
      const std::string line = error.what();
      EXPECT_FALSE(line.empty());
      EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    }
  }
  EXPECT_GT(files, 5U);
}

}  // namespace
}  // namespace athanor::allocator
