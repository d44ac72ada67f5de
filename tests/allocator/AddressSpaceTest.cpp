// Where segments go. How the driver places them was seen in recordings: tests/oracle/test_placement.py.
#include "allocator/AddressSpace.h"

#include <gtest/gtest.h>

#include <iterator>
#include <map>

#include "athanor/core/Random.h"

namespace athanor::allocator {
namespace {

constexpr std::int64_t mib = 1 << 20;

TEST(AddressSpace, TheDriverTakesRegionsAndUsesWhatTheyHaveLeft) {
  AddressSpace space;
  const auto take = [&](std::int64_t size) { return space.take(size * mib, AddressOrder::driver); };
  const auto first = take(44);
  const auto second = take(44);
  EXPECT_EQ(first - second, 64 * mib);
  EXPECT_EQ(take(20), second + 44 * mib);    // the lowest of two places that fit
  EXPECT_EQ(take(2), first + 44 * mib);      // the only one left
  EXPECT_EQ(take(20), second - 32 * mib);    // none fits: a new region
  EXPECT_EQ(take(100), second - 160 * mib);  // 128 MiB
  space.give_back(first, 44 * mib);
  EXPECT_EQ(take(28), second - 160 * mib + 100 * mib);
  EXPECT_EQ(take(30), first);  // given back, and part of a region that is in use
  space.give_back(first, 30 * mib);
  space.give_back(first + 44 * mib, 2 * mib);  // now it is empty
  EXPECT_EQ(take(200), second - 160 * mib - 224 * mib);
  EXPECT_EQ(take(64), first);
}

TEST(AddressSpace, NothingOverlapsAndEverythingComesBack) {
  for (const auto order : {AddressOrder::driver, AddressOrder::rising, AddressOrder::falling}) {
    AddressSpace space;
    const auto fresh = AddressSpace().take(2 * mib, order);
    std::map<std::uint64_t, std::int64_t> taken;
    core::RandomStream random(7, static_cast<std::uint64_t>(order));
    for (int step = 0; step < 4000; ++step) {
      if (random.below(5) < 3 || taken.empty()) {
        const auto size = static_cast<std::int64_t>(1 + random.below(60)) * 2 * mib;
        const auto address = space.take(size, order);
        ASSERT_EQ(address % (2 * mib), 0U);
        const auto [at, added] = taken.emplace(address, size);
        ASSERT_TRUE(added);
        if (at != taken.begin()) {
          const auto& [below, length] = *std::prev(at);
          ASSERT_LE(below + static_cast<std::uint64_t>(length), address);
        }
        if (std::next(at) != taken.end()) {
          ASSERT_LE(address + static_cast<std::uint64_t>(size), std::next(at)->first);
        }
      } else {
        const auto at = std::next(taken.begin(), static_cast<std::ptrdiff_t>(random.below(taken.size())));
        space.give_back(at->first, at->second);
        taken.erase(at);
      }
    }
    for (const auto& [address, size] : taken) space.give_back(address, size);
    EXPECT_EQ(space.take(2 * mib, order), fresh);
  }
}

}  // namespace
}  // namespace athanor::allocator
