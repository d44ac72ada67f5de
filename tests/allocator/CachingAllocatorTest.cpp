#include "athanor/allocator/CachingAllocator.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace athanor::allocator {
namespace {

constexpr std::int64_t mib = 1 << 20;

// Sizes as documented in PyTorch's notes on memory management and c10/core/AllocatorConfig.h.
TEST(CachingAllocator, SegmentsAreTwoTwentyOrMultiplesOfTwoMiB) {
  CachingAllocator model;
  const auto reserved_for = [&](std::int64_t size) {
    const std::int64_t before = model.reserved();
    (void)model.allocate(size);
    return model.reserved() - before;
  };
  EXPECT_EQ(reserved_for(1), 2 * mib);
  EXPECT_EQ(reserved_for(mib), 0);  // fits what is left of the small segment
  EXPECT_EQ(reserved_for(mib + 1), 20 * mib);
  EXPECT_EQ(reserved_for(10 * mib - 512), 0);
  EXPECT_EQ(reserved_for(10 * mib), 10 * mib);
  EXPECT_EQ(reserved_for(21 * mib), 22 * mib);
}

TEST(CachingAllocator, EverythingFreedLeavesOneFreeBlockASegment) {
  CachingAllocator model;
  std::vector<Address> held;
  for (int i = 1; i < 200; ++i) held.push_back(*model.allocate(i * 40'000));
  for (std::size_t i = 0; i < held.size(); i += 2) model.free(held[i]);
  for (std::size_t i = 1; i < held.size(); i += 2) model.free(held[i]);
  EXPECT_EQ(model.allocated(), 0);
  for (const Segment& segment : model.segments()) {
    ASSERT_EQ(segment.blocks.size(), 1U);
    EXPECT_EQ(segment.blocks[0].state, BlockState::free);
  }
  EXPECT_EQ(model.statistics().inactive_split.all.current, 0);
  model.empty_cache();
  EXPECT_EQ(model.reserved(), 0);
}

TEST(CachingAllocator, RunsOutAtCapacityAndRetriesAfterReleasing) {
  CachingAllocator model({.capacity = 100 * mib});
  const Address first = *model.allocate(60 * mib);
  model.free(first);
  EXPECT_TRUE(model.allocate(80 * mib));
  EXPECT_EQ(model.statistics().num_alloc_retries, 1);
  EXPECT_FALSE(model.allocate(30 * mib));
  EXPECT_EQ(model.statistics().num_ooms, 1);
  EXPECT_EQ(model.reserved(), 80 * mib);
}

TEST(CachingAllocator, ABlockUsedOnAnotherStreamComesBackAfterItFinished) {
  CachingAllocator model;
  const Address block = *model.allocate(30 * mib, 0);
  model.record_stream(block, 7);
  model.free(block);
  EXPECT_NE(*model.allocate(30 * mib, 0), block);
  model.synchronize(7);
  EXPECT_EQ(*model.allocate(30 * mib, 0), block);
}

TEST(CachingAllocator, ExpandableSegmentsGrowInTwentyMiBAndGiveFreePagesBack) {
  CachingAllocator model({.settings = Settings::parse("expandable_segments:True")});
  const Address first = *model.allocate(30 * mib);
  EXPECT_EQ(model.reserved(), 40 * mib);
  const Address second = *model.allocate(30 * mib);
  EXPECT_EQ(second, first + 30 * mib);
  EXPECT_EQ(model.reserved(), 60 * mib);
  model.free(first);
  model.empty_cache();
  EXPECT_EQ(model.reserved(), 40 * mib);  // the page both share stays
  model.free(second);
  model.empty_cache();
  EXPECT_EQ(model.reserved(), 0);
}

TEST(CachingAllocator, MistakesAreNamed) {
  CachingAllocator model;
  EXPECT_THROW(model.free(0x1000), std::invalid_argument);
  EXPECT_THROW((void)model.allocate(-1), std::invalid_argument);
  const Address block = *model.allocate(1);
  model.free(block);
  EXPECT_THROW(model.free(block), std::invalid_argument);
  EXPECT_THROW(model.complete_free(block), std::invalid_argument);
  EXPECT_FALSE(model.allocate(std::int64_t{1} << 62));
}

}  // namespace
}  // namespace athanor::allocator
