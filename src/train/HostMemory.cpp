#include "athanor/train/HostMemory.h"

#include <cstdlib>
#include <limits>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace athanor::train {

bool keep_freed_memory() {
#ifdef __GLIBC__
  // No block by mmap of its own (the threshold cannot go above 32 MiB), none trimmed off the heap's end.
  constexpr int kHeapStep = 64 << 20;
  return mallopt(M_MMAP_MAX, 0) == 1 && mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max()) == 1 &&
         mallopt(M_TOP_PAD, kHeapStep) == 1;
#else
  return false;
#endif
}

}  // namespace athanor::train
