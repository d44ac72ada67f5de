#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "athanor/allocator/Recorder.h"
#include "athanor/core/Random.h"

namespace athanor::allocator {

/// A program that does everything at random, recorded; `most` is the length of the history's ring buffer.
inline Snapshot random_program(std::uint64_t seed, const char* conf, std::size_t most, bool streams,
                               std::int64_t capacity = std::int64_t{6000} << 20) {
  CachingAllocator model({.settings = Settings::parse(conf), .capacity = capacity, .total_memory = capacity});
  Recorder recorder(model, 0, most);
  core::RandomStream random(seed, 3);
  constexpr std::int64_t mib = 1 << 20;
  std::vector<Address> live;
  std::int64_t time = 1'700'000'000'000'000;
  for (int step = 0; step < 3000; ++step) {
    const std::string function = "step" + std::to_string(step % 50);
    const std::uint32_t frame = recorder.frames().frame("/home/me/train.py", step % 50, function);
    recorder.at(recorder.frames().stack(std::span(&frame, 1)), ++time);
    const std::uint64_t what = random.below(1000);
    if (what < 500 || live.empty()) {
      const std::int64_t size = random.below(2) == 0 ? 1 + static_cast<std::int64_t>(random.below(mib))
                                                     : 1 + static_cast<std::int64_t>(random.below(60 * mib));
      if (const auto address = model.allocate(size, streams ? 0x100 * random.below(3) : 0)) live.push_back(*address);
    } else if (what < 995) {
      const std::size_t at = random.below(live.size());
      if (streams && random.below(6) == 0) model.record_stream(live[at], 0x100 * random.below(3));
      model.free(live[at]);
      live[at] = live.back();
      live.pop_back();
      if (streams && random.below(5) == 0) model.synchronize(0x100 * random.below(3));
    } else {
      model.empty_cache();
    }
  }
  return recorder.snapshot(conf);
}

}  // namespace athanor::allocator
