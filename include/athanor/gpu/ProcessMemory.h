#pragma once
#include "athanor/core/Bytes.h"

namespace athanor::gpu {

/// Main memory of this process, from /proc/self/status: the pages present now, and their highest so far.
struct MemoryReading {
  Bytes resident;
  Bytes resident_peak;
};

/// Takes about 20 µs. Zeros where the system has no /proc.
MemoryReading read_process_memory();

}  // namespace athanor::gpu
