#pragma once

namespace athanor::cli {

/// Has OpenMP's idle threads spin briefly before they sleep, instead of for milliseconds. Spinning through is the
/// fastest way to wait on cores of one's own and ruinous on shared ones: the thread that has work then waits for one
/// that only turns. libgomp reads the setting when it is loaded, so the program starts itself anew, as the same
/// process. Does nothing where OMP_WAIT_POLICY or GOMP_SPINCOUNT says what the user wants. docs/design/waiting.md has
/// the reasons.
void start_with_short_waits(const char* const* argv);

}  // namespace athanor::cli
