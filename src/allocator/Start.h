#pragma once
#include "athanor/allocator/History.h"

namespace athanor::allocator {

/// Fills in start, reserves, complete, ambiguous, orphans, capacity and total_memory from the steps and the final
/// segments.
void rebuild_start(const Snapshot& snapshot, History& history);

}  // namespace athanor::allocator
