#include <gtest/gtest.h>

#include <set>

#include "allocator/Reference.h"
#include "athanor/allocator/CachingAllocator.h"
#include "athanor/core/Random.h"

namespace athanor::allocator {
namespace {

constexpr std::int64_t mib = 1 << 20;

struct Case {
  const char* conf;
  std::int64_t capacity;
};

/// Addresses in no order, far enough apart for any range: the same sequence for model and reference.
std::function<Place(std::int64_t, bool)> scattered() {
  return [count = std::uint64_t{0}](std::int64_t, bool) mutable {
    std::uint64_t reversed = 0;
    for (int bit = 0; bit < 16; ++bit) reversed |= ((count >> bit) & 1) << (15 - bit);
    ++count;
    return Place{(reversed + 1) << 39, unlimited};
  };
}

std::int64_t random_size(core::RandomStream& random) {
  switch (random.below(4)) {
    case 0:
      return 1 + static_cast<std::int64_t>(random.below(4096));
    case 1:
      return 1 + static_cast<std::int64_t>(random.below(2 * mib));
    case 2:
      return 1 + static_cast<std::int64_t>(random.below(30 * mib));
    default:
      return static_cast<std::int64_t>(1 + random.below(40)) * 512 * 1024;
  }
}

/// Everything the program could do, at random; model and reference must agree on every answer.
class Against : public ::testing::TestWithParam<Case> {};

// Peaks are taken where upstream updates a sum, which can be in the middle of an operation; allocated, active and
// requested only ever change once in one.
void expect_equal(const CachingAllocator& model, const Reference& reference, std::int64_t step) {
  ASSERT_EQ(model.segments(), reference.segments()) << "step " << step;
  const auto ours = model.statistics().named();
  for (const auto& [name, value] : reference.statistics().named()) {
    if (name.ends_with(".current")) {
      ASSERT_EQ(ours.at(name), value) << name << " at step " << step;
    }
    const bool once = name.starts_with("allocat") || name.starts_with("active") || name.starts_with("requested") ||
                      name.starts_with("reserved") || name.starts_with("segment.");
    if (once && name.ends_with(".peak")) {
      ASSERT_EQ(ours.at(name), value) << name << " at step " << step;
    }
  }
  ASSERT_EQ(model.statistics().num_alloc_retries, reference.retries);
  ASSERT_EQ(model.statistics().num_ooms, reference.ooms);
}

TEST_P(Against, AgreesWithASlowReferenceWrittenDifferently) {
  const Settings settings = Settings::parse(GetParam().conf);
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    CachingAllocator model({.settings = settings,
                            .capacity = GetParam().capacity,
                            .total_memory = GetParam().capacity,
                            .place = scattered()});
    Reference reference(settings, GetParam().capacity, scattered());
    core::RandomStream random(seed, 1);
    std::vector<Address> live;
    for (std::int64_t step = 0; step < 2500; ++step) {
      const std::uint64_t what = random.below(100);
      if (what < 50 || live.empty()) {
        const std::int64_t size = random_size(random);
        const Stream stream = random.below(4) == 0 ? 0x5000 : 0;
        const auto ours = model.allocate(size, stream);
        ASSERT_EQ(ours, reference.allocate(size, stream)) << "step " << step << " seed " << seed;
        if (ours) live.push_back(*ours);
      } else if (what < 96) {
        const std::size_t at = random.below(live.size());
        const Address address = live[at];
        if (random.below(8) == 0) {
          const Stream stream = 0x5000 * random.below(3);
          model.record_stream(address, stream);
          reference.record_stream(address, stream);
        } else {
          model.free(address);
          reference.free(address);
          live[at] = live.back();
          live.pop_back();
        }
      } else if (what < 99) {
        const Stream stream = 0x5000 * random.below(3);
        model.synchronize(stream);
        reference.synchronize(stream);
      } else {
        model.empty_cache();
        reference.empty_cache();
      }
      if (step % 50 == 0) expect_equal(model, reference, step);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Settings, Against,
    ::testing::Values(
        Case{"", 1000 * mib}, Case{"expandable_segments:True", 800 * mib}, Case{"max_split_size_mb:20", 700 * mib},
        Case{"max_split_size_mb:24,max_non_split_rounding_mb:20", 900 * mib},
        Case{"roundup_power2_divisions:4", 900 * mib}, Case{"roundup_power2_divisions:[2:8,16:2,>:1]", 900 * mib},
        Case{"garbage_collection_threshold:0.5,per_process_memory_fraction:0.9", 800 * mib},
        Case{"expandable_segments:True,per_process_memory_fraction:0.8,garbage_collection_threshold:0.6", 900 * mib},
        Case{"large_segment_size_mb:40", 900 * mib},
        Case{"expandable_segments:True,large_segment_size_mb:32", 900 * mib}));

// Invariants that need no second model, over millions of events.
TEST(Invariants, BlocksTileBytesAreConservedNeighboursAreMerged) {
  for (const char* conf : {"", "expandable_segments:True", "max_split_size_mb:64"}) {
    CachingAllocator model({.settings = Settings::parse(conf), .capacity = 20'000 * mib, .total_memory = 20'000 * mib});
    core::RandomStream random(7, 0);
    std::vector<Address> live;
    for (std::int64_t step = 0; step < 1'000'000; ++step) {
      if (live.size() < 3000 ? random.below(10) < 6 : random.below(10) < 4) {
        const auto address = model.allocate(random_size(random), random.below(3));
        if (address) live.push_back(*address);
      } else if (!live.empty()) {
        const std::size_t at = random.below(live.size());
        model.free(live[at]);
        live[at] = live.back();
        live.pop_back();
      }
      if (step % 50'000 != 0) continue;
      std::int64_t reserved = 0, allocated = 0;
      Address end = 0;
      std::set<Address> starts;
      for (const Segment& segment : model.segments()) {
        ASSERT_GE(segment.address, end);
        Address at = segment.address;
        for (std::size_t i = 0; i < segment.blocks.size(); ++i) {
          const Block& block = segment.blocks[i];
          ASSERT_EQ(block.address, at);
          ASSERT_GT(block.size, 0);
          at += static_cast<Address>(block.size);
          if (block.state == BlockState::live) allocated += block.size, starts.insert(block.address);
          const bool two_free =
              i > 0 && block.state == BlockState::free && segment.blocks[i - 1].state == BlockState::free;
          ASSERT_FALSE(two_free);
        }
        ASSERT_EQ(at, segment.address + static_cast<Address>(segment.size));
        end = at;
        reserved += segment.size;
      }
      ASSERT_EQ(reserved, model.reserved());
      ASSERT_EQ(allocated, model.allocated());
      ASSERT_EQ(starts, std::set<Address>(live.begin(), live.end()));
    }
    for (const Address address : live) model.free(address);
    for (const Segment& segment : model.segments()) ASSERT_EQ(segment.blocks.size(), 1U);
    model.empty_cache();
    EXPECT_EQ(model.reserved(), 0) << conf;
  }
}

}  // namespace
}  // namespace athanor::allocator
