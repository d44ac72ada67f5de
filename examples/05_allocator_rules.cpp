// The caching allocator's rules, one at a time, on the model; and one program recorded under two settings:
//   example_05_allocator_rules [FOLDER]      FOLDER: where the two snapshots go, for `athanor replay`
#include <cstdio>

#include "athanor/allocator/Recorder.h"
#include "athanor/core/Random.h"

using namespace athanor::allocator;

namespace {

constexpr std::int64_t mib = 1 << 20;

void show(const CachingAllocator& model, const char* caption) {
  std::printf("  %s\n", caption);
  for (const Segment& segment : model.segments()) {
    std::printf("    segment %.1f:", static_cast<double>(segment.size) / mib);
    for (const Block& block : segment.blocks)
      std::printf(" %.1f %s", static_cast<double>(block.size) / mib, block.state == BlockState::free ? "free" : "live");
    std::printf("\n");
  }
}

/// A program whose tensors grow: the holes that its short-lived ones leave are never quite large enough.
void record(const char* conf, const std::string& path) {
  CachingAllocator model({.settings = Settings::parse(conf)});
  Recorder recorder(model);
  athanor::core::RandomStream random(5);
  std::vector<Address> kept;
  for (int step = 0; step < 40; ++step) {
    const auto at = [&](int line, const char* function) {
      const std::uint32_t frame = recorder.frames().frame("/home/me/generate.py", line, function);
      recorder.at(recorder.frames().stack(std::span(&frame, 1)), 1'700'000'000'000'000 + 1000 * step);
    };
    at(12, "extend_cache");
    kept.push_back(*model.allocate((11 + step / 2) * mib));
    at(20, "attend");
    std::vector<Address> scratch;
    for (int i = 0; i < 3; ++i)
      scratch.push_back(*model.allocate((20 + 2 * step) * mib + static_cast<std::int64_t>(random.below(8 * mib))));
    at(31, "sample");
    kept.push_back(*model.allocate(3 * mib));
    for (const Address address : scratch) model.free(address);
  }
  write_snapshot(recorder.snapshot(conf), path);
}

}  // namespace

int main(int argc, char** argv) {
  std::printf("sizes\n");
  CachingAllocator sizes;
  (void)*sizes.allocate(300 * 1024), (void)*sizes.allocate(3 * mib), (void)*sizes.allocate(25 * mib);
  show(sizes, "0.3, 3 and 25 MiB: a small segment of 2 MiB, a large one of 20 MiB, one of its own (26 MiB)");

  for (const char* conf : {"", "expandable_segments:True"}) {
    std::printf("%s\n", *conf != '\0' ? "expandable" : "stuck");
    CachingAllocator model({.settings = Settings::parse(conf)});
    const Address first = *model.allocate(8 * mib), second = *model.allocate(4 * mib);
    show(model, "8 and 4 MiB, cut from one segment");
    model.free(first);
    show(model, "the 8 MiB are freed");
    const Address third = *model.allocate(9 * mib);
    show(model, "9 MiB are asked for");
    model.free(second), model.free(third);
    show(model, "everything is freed: neighbours merge");
  }

  for (const char* conf : {"", "max_split_size_mb:20"}) {
    std::printf("%s\n", *conf != '\0' ? "max_split_size" : "split");
    CachingAllocator model({.settings = Settings::parse(conf)});
    model.free(*model.allocate(60 * mib));
    show(model, "60 MiB were freed");
    (void)*model.allocate(4 * mib);
    show(model, "4 MiB are asked for");
  }
  if (argc < 2) return 0;
  record("", std::string(argv[1]) + "/default.pickle");
  record("expandable_segments:True", std::string(argv[1]) + "/expandable.pickle");
  return 0;
}
