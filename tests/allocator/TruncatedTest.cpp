#include <gtest/gtest.h>

#include "allocator/RandomProgram.h"
#include "athanor/allocator/Replay.h"
#include "athanor/core/Error.h"

namespace athanor::allocator {
namespace {

void expect_beginning(const std::vector<TraceEvent>& part, const std::vector<TraceEvent>& whole) {
  ASSERT_LE(part.size(), whole.size());
  for (std::size_t i = 0; i < part.size(); ++i)
    ASSERT_TRUE(part[i].action == whole[i].action && part[i].address == whole[i].address &&
                part[i].size == whole[i].size && part[i].time_us == whole[i].time_us);
}

// Wherever the file ends, all entries before its end are there, and a history from an empty device replays exactly.
TEST(Truncated, WhatStandsBeforeTheEndIsRead) {
  for (const char* conf : {"", "expandable_segments:True"}) {
    const Snapshot whole = random_program(2, conf, 100'000, true);
    const std::string bytes = pickled(whole);
    const std::size_t traces_begin = bytes.find("device_traces");
    std::size_t longest = 0, cuts = 0, inexact = 0;
    for (std::size_t end = 2; end < bytes.size(); end += 1 + bytes.size() / 97) {
      Snapshot part;
      try {
        part = parse_snapshot(std::string_view(bytes).substr(0, end), "cut");
      } catch (const Error& error) {
        EXPECT_LT(end, bytes.find("segments") + 200) << error.what();
        EXPECT_NE(std::string(error.what()).find("truncated"), std::string::npos) << error.what();
        continue;
      }
      ASSERT_TRUE(part.truncated);
      if (end > traces_begin + 20) {
        ASSERT_EQ(part.segments.size(), whole.segments.size());
      }
      if (part.traces.empty() || part.traces[0].empty()) {
        EXPECT_THROW(history_of(part, 0), Error);
        continue;
      }
      expect_beginning(part.traces[0], whole.traces[0]);
      EXPECT_GE(part.traces[0].size(), longest);
      longest = part.traces[0].size();
      const History history = history_of(part, 0);
      EXPECT_TRUE(history.partial && history.complete);
      const Replay result = replay(part, history);
      // The last step may lack what the allocation after it would have shown.
      inexact += result.fidelity.addresses.recorded - result.fidelity.addresses.matched > 1;
      ++cuts;
      EXPECT_EQ(result.fidelity.orphans, 0U);
    }
    // How long the ranges of expandable segments are, only ranges reserved later may tell.
    EXPECT_LE(inexact * 20, *conf == '\0' ? 0 : cuts);
    EXPECT_GT(longest * 10, whole.traces[0].size() * 9);
  }
}

// The end of a history that began on a device in use is what tells its start: without it the layout is a guess, and
// what was allocated an estimate.
TEST(Truncated, TheStartIsRebuiltFromLaterSegments) {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const Snapshot whole = random_program(seed, "", 1500, false);
    const std::string bytes = pickled(whole);
    const Snapshot part = parse_snapshot(std::string_view(bytes).substr(0, bytes.size() / 10 * 8), "cut");
    const History history = history_of(part, 0);
    EXPECT_TRUE(history.partial);
    EXPECT_FALSE(history.complete);
    const Replay result = replay(part, history);
    std::int64_t peak = 0;
    for (const Moment& moment : replay(whole, history_of(whole, 0), 1 << 20).moments)
      if (moment.step < history.steps.size()) peak = std::max(peak, moment.allocated);
    EXPECT_NEAR(static_cast<double>(result.peak_allocated), static_cast<double>(peak), 0.3 * static_cast<double>(peak))
        << "seed " << seed;
  }
}

// Of a block that is older than the history nobody may be blamed who was handed its address later.
TEST(Replay, WhoeverIsHandedAnAddressLaterDidNotHoldItAtTheStart) {
  const Snapshot snapshot = parse_snapshot(
      R"({"segments": [{"device": 0, "address": 2097152, "total_size": 20971520, "stream": 0, "segment_type": "large",
            "blocks": [{"address": 2097152, "size": 10485760, "requested_size": 10485760, "state": "active_allocated",
                        "frames": [{"filename": "late.py", "line": 9, "name": "late"}]},
                       {"address": 12582912, "size": 10485760, "state": "inactive", "frames": []}]}],
          "device_traces": [[
            {"action": "free_requested", "addr": 2097152, "size": 20971520, "stream": 0, "frames": []},
            {"action": "free_completed", "addr": 2097152, "size": 20971520, "stream": 0, "frames": []},
            {"action": "alloc", "addr": 2097152, "size": 10485760, "stream": 0,
             "frames": [{"filename": "late.py", "line": 9, "name": "late"}]}]]})",
      "x.json");
  const History history = history_of(snapshot, 0);
  EXPECT_TRUE(history.start_stacks.empty());
  EXPECT_TRUE(replay(snapshot, history).fidelity.exact());
}

}  // namespace
}  // namespace athanor::allocator
