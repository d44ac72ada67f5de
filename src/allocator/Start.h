#pragma once
#include "athanor/allocator/History.h"

namespace athanor::allocator {

/// Fills in start, reserves, complete, ambiguous, orphans, capacity and total_memory from the steps and the final
/// segments.
void rebuild_start(const Snapshot& snapshot, History& history);

/// For a history whose end is missing: takes out of `finish` what cannot have been there while it ran. Before
/// rebuild_start.
void forget_what_came_later(History& history);

}  // namespace athanor::allocator
