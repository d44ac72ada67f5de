#pragma once

namespace athanor::train {

/// Tells glibc's malloc to keep what is freed for the next step instead of giving it back to the kernel, which would
/// have to clear every page again: on a CNN of a few MB of activations that is a large part of a step. Memory that the
/// process once held it keeps until it ends. False where the C library is another. Call once, before training.
bool keep_freed_memory();

}  // namespace athanor::train
