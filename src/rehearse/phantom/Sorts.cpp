#include "rehearse/phantom/Sorts.h"

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

}  // namespace athanor::rehearse::phantom
