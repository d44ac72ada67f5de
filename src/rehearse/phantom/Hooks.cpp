#include "rehearse/phantom/Hooks.h"

#include <ATen/core/Generator.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GeneratorImpl.h>

#include <array>
#include <memory>
#include <new>

#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/PinnedMemory.h"

namespace athanor::rehearse::phantom {
namespace {

// Remembers seed and offset and draws nothing.
class Generator final : public c10::GeneratorImpl {
 public:
  explicit Generator(c10::DeviceIndex device)
      : GeneratorImpl(c10::Device(c10::kCUDA, device), c10::DispatchKeySet(c10::DispatchKey::CUDA)) {}
  void set_current_seed(std::uint64_t seed) override {
    seed_ = seed;
    offset_ = 0;
  }
  void set_offset(std::uint64_t offset) override { offset_ = offset; }
  [[nodiscard]] std::uint64_t get_offset() const override { return offset_; }
  [[nodiscard]] std::uint64_t current_seed() const override { return seed_; }
  std::uint64_t seed() override { return seed_; }
  void set_state(const c10::TensorImpl&) override {}
  [[nodiscard]] c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return at::zeros({16}, at::kByte).unsafeReleaseIntrusivePtr();  // on the host, as CUDA's is
  }

 private:
  [[nodiscard]] Generator* clone_impl() const override {
    auto* copy = new Generator(device_.index());
    copy->seed_ = seed_;
    copy->offset_ = offset_;
    return copy;
  }
  std::uint64_t seed_ = 67280421310721;  // PyTorch's default seed
  std::uint64_t offset_ = 0;
};

void replace_hooks(bool ours) {
  static_assert(sizeof(Hooks) == sizeof(at::CUDAHooksInterface));
  auto* hooks = const_cast<at::CUDAHooksInterface*>(&at::detail::getCUDAHooks());
  hooks->~CUDAHooksInterface();
  if (ours)
    new (hooks) Hooks;
  else
    new (hooks) at::CUDAHooksInterface;
}

}  // namespace

c10::DeviceIndex Hooks::deviceCount() const {
  return static_cast<c10::DeviceIndex>(traits().devices);
}
c10::DeviceIndex Hooks::getCurrentDevice() const {
  return Guard::place().device;
}
void Hooks::setCurrentDevice(c10::DeviceIndex device) const {
  Guard(traits().devices).setDevice({c10::kCUDA, device});
}
c10::DeviceIndex Hooks::exchangeDevice(c10::DeviceIndex device) const {
  return device < 0 ? c10::DeviceIndex{-1} : Guard(traits().devices).exchangeDevice({c10::kCUDA, device}).index();
}
c10::DeviceIndex Hooks::maybeExchangeDevice(c10::DeviceIndex device) const {
  return exchangeDevice(device);
}

const at::Generator& Hooks::getDefaultGenerator(c10::DeviceIndex device) const {
  static const auto generators = [] {
    std::array<at::Generator, 64> all;
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i] = at::make_generator<Generator>(static_cast<c10::DeviceIndex>(i));
    return all;
  }();
  return generators.at(static_cast<std::size_t>(device < 0 ? getCurrentDevice() : device));
}
at::Generator Hooks::getNewGenerator(c10::DeviceIndex device) const {
  return at::make_generator<Generator>(device < 0 ? getCurrentDevice() : device);
}

at::Allocator* Hooks::getPinnedMemoryAllocator() const {
  return &PinnedMemory::instance();
}
at::Allocator* Hooks::getCUDADeviceAllocator() const {
  return &Memory::instance();
}
bool Hooks::supportsBFloat16ConvolutionWithCuDNNv8() const {
  return traits().compute_capability >= 80;
}
void Hooks::deviceSynchronize(c10::DeviceIndex device) const {
  Guard(traits().devices).synchronizeDevice(device);
}

void install_hooks() {
  replace_hooks(true);
}
void remove_hooks() {
  replace_hooks(false);
}

}  // namespace athanor::rehearse::phantom
