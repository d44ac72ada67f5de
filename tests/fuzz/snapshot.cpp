// libFuzzer target for the readers of snapshots, and for what follows from them. Not built by default:
//   clang++ -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -Iinclude -Isrc tests/fuzz/snapshot.cpp
//     src/allocator/*.cpp src/core/{AtomicFile,Bytes,Nearest,Format}.cpp -lfmt -lz -o build/fuzz_snapshot
//   build/fuzz_snapshot -max_total_time=600 -rss_limit_mb=2048 tests/fuzz/corpus
// The corpus is replayed by the ordinary tests (tests/allocator/CorpusTest.cpp).
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "athanor/allocator/Replay.h"
#include "athanor/core/Error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace athanor::allocator;
  try {
    const Snapshot snapshot = parse_snapshot({reinterpret_cast<const char*>(data), size}, "fuzz");
    const History history = history_of(snapshot, busiest_device(snapshot));
    (void)what_if(history, history.settings, std::int64_t{8} << 30);
    (void)replay(snapshot, history);
  } catch (const athanor::Error&) {
    // Refused in words: what the readers promise.
  }
  return 0;
}
