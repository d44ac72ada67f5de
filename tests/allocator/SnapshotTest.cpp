#include "athanor/allocator/Snapshot.h"

#include <gtest/gtest.h>

#include "allocator/RandomProgram.h"
#include "athanor/allocator/Replay.h"
#include "athanor/core/Error.h"

namespace athanor::allocator {
namespace {

constexpr std::int64_t mib = 1 << 20;

TEST(Snapshot, WhatIsWrittenReadsBackTheSame) {
  const Snapshot written = random_program(1, "", 100'000, true);
  const Snapshot read = parse_snapshot(pickled(written), "memory");
  ASSERT_EQ(read.traces.size(), written.traces.size());
  ASSERT_EQ(read.traces[0].size(), written.traces[0].size());
  for (std::size_t i = 0; i < read.traces[0].size(); ++i) {
    const TraceEvent &a = read.traces[0][i], &b = written.traces[0][i];
    ASSERT_TRUE(a.action == b.action && a.address == b.address && a.size == b.size && a.time_us == b.time_us);
    ASSERT_EQ(read.streams[a.stream], written.streams[b.stream]);
    ASSERT_EQ(read.frames.culprit(a.stack), written.frames.culprit(b.stack));
  }
  ASSERT_EQ(read.segments.size(), written.segments.size());
  for (std::size_t i = 0; i < read.segments.size(); ++i)
    EXPECT_EQ(read.segments[i].segment, written.segments[i].segment);
}

// A history that begins on an empty device has every answer; the model must give them all.
TEST(Replay, ACompleteHistoryIsReproducedExactly) {
  for (const char* conf : {"", "expandable_segments:True", "roundup_power2_divisions:4"}) {
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      const Snapshot snapshot = random_program(seed, conf, 100'000, seed % 2 == 0);
      const History history = history_of(snapshot, 0);
      EXPECT_TRUE(history.complete);
      const Replay result = replay(snapshot, history);
      EXPECT_TRUE(result.fidelity.exact()) << conf << " seed " << seed << ": " << result.fidelity.addresses.matched
                                           << " of " << result.fidelity.addresses.recorded;
      EXPECT_EQ(result.fidelity.orphans, 0U);
    }
  }
}

// The device is full again and again: what is given back for one allocation, and in which order, must come out too.
TEST(Replay, AFullDeviceIsFollowedReleaseByRelease) {
  for (const char* conf : {"", "garbage_collection_threshold:0.6,per_process_memory_fraction:0.9"}) {
    std::size_t ooms = 0, releases = 0;
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      const Snapshot snapshot = random_program(seed, conf, 100'000, seed % 2 == 0, 700 * mib);
      const History history = history_of(snapshot, 0);
      const Replay result = replay(snapshot, history);
      ooms += result.recorded_ooms;
      releases += result.fidelity.segment_frees.recorded;
      EXPECT_TRUE(result.fidelity.exact())
          << conf << " seed " << seed << ": addresses " << result.fidelity.addresses.matched << " of "
          << result.fidelity.addresses.recorded << ", releases " << result.fidelity.segment_frees.matched << " of "
          << result.fidelity.segment_frees.recorded;
    }
    EXPECT_GT(ooms, 10U) << conf;
    EXPECT_GT(releases, 100U) << conf;
  }
}

// A ring buffer keeps the newest events only: the state before them is rebuilt. What cannot be known (up to 1 MiB
// behind a block that is older than the history) may differ; nothing else.
TEST(Replay, APartialHistoryIsRebuiltFromItsEnd) {
  std::size_t exact = 0, all = 0;
  for (const char* conf : {"", "expandable_segments:True"}) {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      const Snapshot snapshot = random_program(seed, conf, 500 + seed * 200, seed % 3 == 0);
      const History history = history_of(snapshot, 0);
      EXPECT_FALSE(history.complete);
      EXPECT_EQ(history.orphans, 0U);
      const Replay result = replay(snapshot, history);
      EXPECT_EQ(result.fidelity.orphans, 0U);
      if (history.ambiguous == 0) {
        EXPECT_TRUE(result.fidelity.exact()) << conf << " seed " << seed;
      }
      EXPECT_GE(result.fidelity.addresses.matched * 100, result.fidelity.addresses.recorded * 95)
          << conf << " seed " << seed;
      exact += result.fidelity.exact();
      ++all;
    }
  }
  EXPECT_GE(exact * 4, all * 3);
}

std::string refusal(std::string_view bytes) {
  try {
    (void)parse_snapshot(bytes, "bad.pickle");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Snapshot, NothingIsExecutedAndEveryMistakeIsOneClearLine) {
  using namespace std::string_literals;
  const auto says = [](const std::string& line, std::string_view part) {
    return line.find(part) != std::string::npos && line.starts_with("bad.pickle: ") &&
           line.find('\n') == std::string::npos;
  };
  EXPECT_PRED2(says, refusal("cos\nsystem\n(S'rm'\ntR."), "GLOBAL would execute os.system");
  EXPECT_PRED2(says, refusal("\x80\x04\x8c\x02os\x8c\x06system\x93."s), "STACK_GLOBAL would execute os.system");
  EXPECT_PRED2(says, refusal("\x80\x04}R."s), "REDUCE");
  EXPECT_PRED2(says, refusal("\x80\x04}"s), "truncated");
  EXPECT_PRED2(says, refusal("\x80\x09."s), "protocol 9");
  EXPECT_PRED2(says, refusal("\x80\x04."s), "empty stack");
  EXPECT_PRED2(says, refusal("\x80\x04j\xff\xff\xff\x7f."s), "memo");
  EXPECT_PRED2(says, refusal("\x80\x04}r\xff\xff\xff\x7f."s), "memo index");
  EXPECT_PRED2(says,
               refusal("\x80\x04]\x94h\x00"
                       "a."s),
               "contains itself");
  EXPECT_PRED2(says, refusal("\x80\x04" + std::string(1000, '(')), "nests deeper");
  EXPECT_PRED2(says,
               refusal("\x80\x04X\xff\xff\xff\xff"
                       "abc"s),
               "truncated");
  EXPECT_PRED2(says, refusal("PK\x03\x04zip"s), "checkpoint");
  EXPECT_PRED2(says, refusal("<html>"), "HTML");
  EXPECT_PRED2(says, refusal("{\"segments\": ["), "truncated");
  EXPECT_PRED2(says, refusal("{\"a\": 1}"), "no memory snapshot");
  EXPECT_PRED2(says, refusal("hello"), "neither a pickle nor JSON");
  EXPECT_PRED2(says, refusal("\x1f\x8b\x08\x00junk"s), "gzip");
  EXPECT_PRED2(says, refusal("{\"traceEvents\": []}"), "profile_memory=True");
  EXPECT_PRED2(says, refusal("{\"segments\": [{\"total_size\": -5, \"blocks\": []}], \"device_traces\": []}"),
               "bytes a device");
}

TEST(Snapshot, WithoutHistoryItSaysHowToRecordOne) {
  const Snapshot snapshot = parse_snapshot("{\"segments\": [], \"device_traces\": [[]]}", "x.json");
  try {
    (void)history_of(snapshot, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("_record_memory_history"), std::string::npos);
  }
}

TEST(Snapshot, ProfilerTracesGiveBlocks) {
  const Snapshot snapshot = parse_snapshot(
      R"({"schemaVersion": 1, "traceEvents": [
          {"ph": "i", "name": "[memory]", "ts": 2.5, "args": {"Total Reserved": 20971520, "Total Allocated": 4194304,
           "Bytes": 4194304, "Addr": 139638374498304, "Device Id": 0, "Device Type": 1}},
          {"ph": "i", "name": "[memory]", "ts": 3.5, "args": {"Bytes": 99, "Addr": 77, "Device Id": -1, "Device Type": 0}},
          {"ph": "X", "name": "aten::mm", "ts": 4, "dur": 1, "args": {"Bytes": 1}},
          {"ph": "i", "name": "[memory]", "ts": 9.25, "args": {"Total Reserved": 20971520, "Total Allocated": 0,
           "Bytes": -4194304, "Addr": 139638374498304, "Device Id": 0, "Device Type": 1}}]})",
      "trace.json");
  ASSERT_EQ(snapshot.traces.size(), 1U);
  ASSERT_EQ(snapshot.traces[0].size(), 3U);  // handed out, given back (two halves)
  EXPECT_EQ(snapshot.recorded_peak_reserved, 20971520);
  const Outcome outcome = what_if(history_of(snapshot, 0), {}, unlimited);
  EXPECT_EQ(outcome.highest(), 20 * mib);
  EXPECT_EQ(outcome.peak_allocated, 4 * mib);
}

}  // namespace
}  // namespace athanor::allocator
