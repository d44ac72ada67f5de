// Lends the allocator room to the oracle tests: writes a snapshot, and sets our reading of settings beside PyTorch's.
#include <c10/core/AllocatorConfig.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "athanor/allocator/Recorder.h"
#include "athanor/core/Random.h"

namespace {

using namespace athanor;
using namespace athanor::allocator;

// A short training loop with an out-of-memory at its end.
void write(const char* path) {
  CachingAllocator model({.capacity = 512 << 20});
  Recorder recorder(model);
  Frames& frames = recorder.frames();
  auto at = [&, now = std::int64_t{1'700'000'000'000'000}](const char* function, int line) mutable {
    const std::uint32_t frame = frames.frame("train.py", line, function);
    recorder.at(frames.stack(std::span(&frame, 1)), now += 1000);
  };
  std::vector<Address> weights;
  for (int i = 0; i < 8; ++i) {
    at("build", 10 + i);
    weights.push_back(*model.allocate(3'000'000 + i * 700'001));
  }
  for (int step = 0; step < 4; ++step) {
    std::vector<Address> activations;
    for (int i = 0; i < 12; ++i) {
      at("forward", 40 + i);
      activations.push_back(*model.allocate(100 + i * 1'111'111));
    }
    model.record_stream(activations[3], 77);
    for (auto it = activations.rbegin(); it != activations.rend(); ++it) {
      at("backward", 80);
      model.free(*it);
    }
    model.synchronize(77);
  }
  model.empty_cache();
  at("too_much", 99);
  (void)model.allocate(std::int64_t{1} << 30);
  write_snapshot(recorder.snapshot("max_split_size_mb:128"), path);
}

// For each conf: "conf|bucket 0 of PyTorch,ours|…|max_split PyTorch,ours|…".
void compare(const std::string& conf) {
  using Config = c10::CachingAllocator::AcceleratorAllocatorConfig;
  c10::CachingAllocator::setAllocatorSettings(conf);
  const Settings ours = Settings::parse(conf);
  for (std::size_t i = 0; i < 16; ++i)
    std::printf("%zu,%u ", Config::roundup_power2_divisions(std::size_t{1} << (20 + i)),
                ours.roundup_power2_divisions[i]);
  const bool whole = Config::max_split_size() == ~std::size_t{0};
  std::printf("%lld,%lld ",
              whole ? static_cast<long long>(unlimited) : static_cast<long long>(Config::max_split_size()),
              static_cast<long long>(ours.max_split_size));
  std::printf("%lld,%lld ", static_cast<long long>(Config::max_non_split_rounding_size()),
              static_cast<long long>(ours.max_non_split_rounding));
  std::printf("%lld,%lld ", static_cast<long long>(Config::large_segment_size()),
              static_cast<long long>(ours.large_segment_size));
  std::printf("%.17g,%.17g ", Config::garbage_collection_threshold(), ours.garbage_collection_threshold);
  std::printf("%d,%d\n", Config::use_expandable_segments(), ours.expandable_segments);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "write") == 0) {
    write(argv[2]);
    return 0;
  }
  for (int i = 1; i < argc; ++i) compare(argv[i]);
  return 0;
}
