#include "cli/ShortWaits.h"

#include <unistd.h>

#include <cstdlib>

namespace athanor::cli {
namespace {

constexpr const char* kTurns = "1000";  // a few microseconds; libgomp's own count is 300,000

}  // namespace

void start_with_short_waits(const char* const* argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  if (::setenv("GOMP_SPINCOUNT", kTurns, 0) != 0) return;
  // The arguments are execv's by contract unchanged. It returns only if it failed, and then the run is merely slower.
  ::execv("/proc/self/exe", const_cast<char* const*>(argv));
}

}  // namespace athanor::cli
