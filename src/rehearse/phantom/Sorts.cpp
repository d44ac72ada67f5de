#include "rehearse/phantom/Sorts.h"

#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Memory.h"

namespace athanor::rehearse::phantom {

// One block sorts up to 2048 pairs in shared memory and asks for a byte. Larger sorts keep second copies of keys and
// values, and counters. Measured: 1 byte at 2048, 72,191 bytes at 4096 pairs of 64-bit integers.
c10::DataPtr sort_pairs_scratch(const Call& call, std::int64_t count, c10::ScalarType key, c10::ScalarType value) {
  constexpr std::int64_t in_one_block = 2048;
  constexpr std::int64_t counters = 72191 - 4096 * 16;
  if (count <= in_one_block) return call.scratch(1, Confidence::exact);
  const auto copies = count * static_cast<std::int64_t>(c10::elementSize(key) + c10::elementSize(value));
  return call.scratch(copies + counters, count == 4096 ? Confidence::exact : Confidence::estimate, copies,
                      copies + copies / 8 + counters);
}

// Second copies of keys and values, each rounded to 256 bytes, and where each tile of 2,048 begins.
c10::DataPtr merge_sort_pairs_scratch(std::int64_t count) {
  constexpr std::int64_t tile = 2048;
  const auto rounded = [](std::int64_t bytes) { return (bytes + 255) / 256 * 256; };
  const auto bytes = 2 * rounded(8 * count) + rounded(8 * (1 + (count + tile - 1) / tile));
  return Memory::instance().allocate({bytes, Confidence::estimate, 16 * count, bytes + bytes / 16}, Guard::place());
}

// The state of each tile, 16 bytes; how long a tile is, the GPU decides.
c10::DataPtr unique_pairs_scratch(std::int64_t count) {
  const auto states = [&](std::int64_t tile) { return 16 * (count / tile + 64); };
  return Memory::instance().allocate({states(1024), Confidence::estimate, 1, states(128)}, Guard::place());
}

}  // namespace athanor::rehearse::phantom
