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

}  // namespace athanor::rehearse::phantom
