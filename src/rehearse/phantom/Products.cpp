#include "rehearse/phantom/Products.h"

#include <thread>

#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Memory.h"

namespace athanor::rehearse::phantom {

void take_cublas_workspace() {
  const auto place = Guard::place();
  auto& recorder = *Memory::instance().recorder();
  if (!recorder.first_product(std::this_thread::get_id(), place)) return;
  recorder.keep_workspace({traits().cublas_workspace, Confidence::exact}, place);
}

std::int64_t cublas_workspace(int compute_capability, allocator::Version version) {
  const int major = compute_capability / 10;
  const bool large = major == 9 || ((major == 10 || major == 12) && version >= allocator::Version{2, 8});
  return large ? std::int64_t{4096} * 8 * 1024 : std::int64_t{4096} * 2 * 1024 + std::int64_t{16} * 8 * 1024;
}

}  // namespace athanor::rehearse::phantom
