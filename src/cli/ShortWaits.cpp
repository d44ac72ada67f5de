#include "cli/ShortWaits.h"

#include <unistd.h>

#include <cstdlib>

namespace athanor::cli {
namespace {

// Some tens of microseconds, which cover the pauses within a step; libgomp's own count is 300,000.
constexpr const char* kTurns = "10000";

}  // namespace

void start_with_short_waits(const char* const* argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  if (::setenv("GOMP_SPINCOUNT", kTurns, 0) != 0) return;
  // The arguments are execv's by contract unchanged. It returns only if it failed, and then the run is merely slower.
  ::execv("/proc/self/exe", const_cast<char* const*>(argv));
}

}  // namespace athanor::cli
