#include "rehearse/phantom/Products.h"

#include <thread>

#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Memory.h"

namespace athanor::rehearse::phantom {

void take_cublas_workspace() {
  if (Trial::for_shapes()) return;
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

std::int64_t cublaslt_workspace(int compute_capability, allocator::Version version) {
  if (version < allocator::Version{2, 8}) return std::int64_t{1024} * 1024;
  return version < allocator::Version{2, 11} ? cublas_workspace(compute_capability, version) : 0;
}

bool cublaslt_keeps(allocator::Version version) {
  return version >= allocator::Version{2, 9};
}

c10::DataPtr take_cublaslt_workspace() {
  const auto bytes = traits().cublaslt_workspace;
  if (bytes == 0 || Trial::for_shapes()) return {};
  const auto place = Guard::place();
  auto& memory = Memory::instance();
  if (!traits().cublaslt_keeps) return memory.allocate({bytes, Confidence::exact}, place);
  auto& recorder = *memory.recorder();
  if (recorder.first_product(std::this_thread::get_id(), place, true))
    recorder.keep_workspace({bytes, Confidence::source}, place);
  return {};
}

}  // namespace athanor::rehearse::phantom
