#include "rehearse/phantom/Memory.h"

#include "rehearse/phantom/Guard.h"

namespace athanor::rehearse::phantom {
namespace {

// What a DataPtr owns. It keeps its rehearsal's recorder, so a tensor may outlive the rehearsal.
struct Handle {
  std::shared_ptr<Recorder> recorder;
  std::uint32_t block;
};

void release(void* context) {
  const std::unique_ptr<Handle> handle(static_cast<Handle*>(context));
  handle->recorder->release(handle->block);
}

void release_nothing(void*) {}

}  // namespace

// Leaked on purpose: tensors may be freed at exit.
Memory& Memory::instance() {
  static auto* memory = new Memory;
  return *memory;
}

c10::DataPtr Memory::allocate(std::size_t bytes) {
  const auto place = Guard::place();
  if (bytes == 0) return {nullptr, nullptr, &release_nothing, c10::Device(c10::kCUDA, place.device)};
  return wrap(recorder_->allocate(static_cast<std::int64_t>(bytes), place), place.device);
}

c10::DataPtr Memory::allocate(const Scratch& scratch, Place place) {
  if (scratch.bytes == 0) return {nullptr, nullptr, &release_nothing, c10::Device(c10::kCUDA, place.device)};
  return wrap(recorder_->allocate(scratch, place), place.device);
}

c10::DataPtr Memory::wrap(Recorder::Allocation allocation, c10::DeviceIndex device) const {
  // The address is a number that was never memory; nothing may read it.
  auto* address = reinterpret_cast<void*>(allocation.address);  // NOLINT(performance-no-int-to-ptr)
  return {address, new Handle{recorder_, allocation.block}, &release, c10::Device(c10::kCUDA, device)};
}

void Memory::record_stream(const c10::DataPtr& pointer, std::uint64_t stream) const {
  if (pointer.get_deleter() != &release) return;
  const auto* handle = static_cast<const Handle*>(pointer.get_context());
  handle->recorder->record_stream(handle->block, stream);
}

c10::DeleterFnPtr Memory::raw_deleter() const {
  return &release;
}

std::int64_t block_of(const at::Tensor& tensor, const Recorder* recorder) {
  if (!tensor.defined() || !tensor.has_storage()) return -1;
  const auto& pointer = tensor.storage().data_ptr();
  if (pointer.get_deleter() != &release) return -1;
  const auto* handle = static_cast<const Handle*>(pointer.get_context());
  return handle->recorder.get() == recorder ? static_cast<std::int64_t>(handle->block) : -1;
}

}  // namespace athanor::rehearse::phantom
