#include "rehearse/phantom/PinnedMemory.h"

#include <cstring>
#include <memory>

#include "rehearse/phantom/Memory.h"

namespace athanor::rehearse::phantom {
namespace {

struct Held {
  std::shared_ptr<Recorder> recorder;
  c10::DataPtr memory;
  std::size_t bytes;
};

void unpin(void* context) {
  const std::unique_ptr<Held> held(static_cast<Held*>(context));
  held->recorder->unpin(held->bytes);
}

}  // namespace

// Leaked on purpose: tensors may be freed at exit.
PinnedMemory& PinnedMemory::instance() {
  static auto* memory = new PinnedMemory;
  return *memory;
}

c10::DataPtr PinnedMemory::allocate(std::size_t bytes) {
  auto memory = c10::GetAllocator(c10::kCPU)->allocate(bytes);
  const auto& recorder = Memory::instance().recorder();
  if (bytes == 0 || !recorder) return memory;
  recorder->pin(bytes);
  auto* address = memory.get();
  return {address, new Held{recorder, std::move(memory), bytes}, &unpin, c10::Device(c10::kCPU)};
}

void PinnedMemory::copy_data(void* destination, const void* source, std::size_t bytes) const {
  std::memcpy(destination, source, bytes);
}

}  // namespace athanor::rehearse::phantom
