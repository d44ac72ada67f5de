#include "rehearse/phantom/Memory.h"

#include <algorithm>

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
void release_trial(void*) {}

thread_local Trial* current_trial = nullptr;

c10::DataPtr trial_pointer(std::size_t number, c10::DeviceIndex device) {
  auto* address = reinterpret_cast<void*>((number + 1) << 9);  // NOLINT(performance-no-int-to-ptr)
  return {address, address, &release_trial, c10::Device(c10::kCUDA, device)};
}

}  // namespace

// Leaked on purpose: tensors may be freed at exit.
Memory& Memory::instance() {
  static auto* memory = new Memory;
  return *memory;
}

c10::DataPtr Memory::allocate(std::size_t bytes) {
  const auto place = Guard::place();
  if (bytes == 0) return {nullptr, nullptr, &release_nothing, c10::Device(c10::kCUDA, place.device)};
  if (const auto number = Trial::next_without_memory()) return trial_pointer(*number, place.device);
  return wrap(recorder_->allocate(static_cast<std::int64_t>(bytes), place), place.device);
}

c10::DataPtr Memory::allocate(const Scratch& scratch, Place place) {
  if (scratch.bytes == 0 || Trial::for_shapes())
    return {nullptr, nullptr, &release_nothing, c10::Device(c10::kCUDA, place.device)};
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

Trial::Trial() : outer_(current_trial), all_(true) {
  current_trial = this;
}
Trial::Trial(std::vector<std::size_t> without_memory)
    : outer_(current_trial), all_(for_shapes()), without_memory_(std::move(without_memory)) {
  current_trial = this;
}
Trial::~Trial() {
  current_trial = outer_;
}

bool Trial::for_shapes() {
  return current_trial != nullptr && current_trial->all_;
}

std::optional<std::size_t> Trial::number_of(const c10::DataPtr& pointer) {
  if (pointer.get_deleter() != &release_trial) return {};
  return (reinterpret_cast<std::size_t>(pointer.get()) >> 9) - 1;
}

std::optional<std::size_t> Trial::next_without_memory() {
  if (current_trial == nullptr) return {};
  const auto number = current_trial->count_++;
  const auto& listed = current_trial->without_memory_;
  const bool without = for_shapes() || std::find(listed.begin(), listed.end(), number) != listed.end();
  return without ? std::optional(number) : std::nullopt;
}

std::int64_t block_of(const at::Tensor& tensor, const Recorder* recorder) {
  if (!tensor.defined() || !tensor.has_storage()) return -1;
  const auto& pointer = tensor.storage().data_ptr();
  if (pointer.get_deleter() != &release) return -1;
  const auto* handle = static_cast<const Handle*>(pointer.get_context());
  return handle->recorder.get() == recorder ? static_cast<std::int64_t>(handle->block) : -1;
}

}  // namespace athanor::rehearse::phantom
