// The allocator model's pace, and a large snapshot read and replayed: bench_allocator pace | make FILE MEBIBYTES
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "athanor/allocator/Recorder.h"
#include "athanor/core/Random.h"

namespace {

using namespace athanor;
using namespace athanor::allocator;

// Sizes as a training step has them: many small tensors, activations of a few repeated sizes, some large ones.
std::int64_t training_size(core::RandomStream& random) {
  const std::uint64_t what = random.below(100);
  if (what < 50) return 512 * static_cast<std::int64_t>(1 + random.below(64));
  if (what < 90) return (std::int64_t{1} << 20) * static_cast<std::int64_t>(1 + random.below(12)) / 2;
  return (std::int64_t{1} << 20) * static_cast<std::int64_t>(12 + random.below(80));
}

/// Millions of events a second at `live` blocks: one is freed, one handed out, at random.
double pace(std::size_t live, std::size_t events) {
  core::RandomStream random(1);
  std::vector<std::int64_t> sizes(1 << 16);
  std::vector<std::uint32_t> victims(1 << 16);
  for (auto& size : sizes) size = training_size(random);
  for (auto& victim : victims) victim = static_cast<std::uint32_t>(random.below(live));
  CachingAllocator model;
  std::vector<Address> held(live);
  for (std::size_t i = 0; i < live; ++i) held[i] = *model.allocate(sizes[i & 0xffff]);
  for (std::size_t i = 0; i < 4 * live; ++i) {  // until the layout is as it will stay
    Address& slot = held[victims[i & 0xffff]];
    model.free(slot);
    slot = *model.allocate(sizes[(i * 7) & 0xffff]);
  }
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < events / 2; ++i) {
    Address& slot = held[victims[i & 0xffff]];
    model.free(slot);
    slot = *model.allocate(sizes[(i * 5) & 0xffff]);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  return static_cast<double>(events) / seconds.count() / 1e6;
}

/// A training loop's snapshot of at least `bytes`, with stacks as deep as PyTorch records them.
void make(const char* path, std::size_t bytes) {
  CachingAllocator model;
  Recorder recorder(model);
  core::RandomStream random(3);
  std::vector<std::uint32_t> stacks;
  for (int site = 0; site < 400; ++site) {
    std::vector<std::uint32_t> frames;
    for (int depth = 0; depth < 40; ++depth)
      frames.push_back(recorder.frames().frame("/home/me/project/model_" + std::to_string(depth % 7) + ".py",
                                               site % (depth + 9), "function_" + std::to_string((site * depth) % 97)));
    stacks.push_back(recorder.frames().stack(frames));
  }
  std::vector<Address> held(10'000);
  for (Address& slot : held) slot = *model.allocate(training_size(random));
  // One event takes about 80 bytes of pickle.
  for (std::size_t i = 0; i < bytes / 80 / 3; ++i) {
    recorder.at(stacks[random.below(stacks.size())], static_cast<std::int64_t>(1'700'000'000'000'000 + i));
    Address& slot = held[random.below(held.size())];
    model.free(slot);
    slot = *model.allocate(training_size(random));
  }
  write_snapshot(recorder.snapshot(), path);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "make") == 0) {
    make(argv[2], static_cast<std::size_t>(std::atoll(argv[3])) << 20);
    return 0;
  }
  const std::size_t live = argc > 2 ? static_cast<std::size_t>(std::atoll(argv[2])) : 10'000;
  std::printf("%.3f\n", pace(live, 10'000'000));
  return 0;
}
