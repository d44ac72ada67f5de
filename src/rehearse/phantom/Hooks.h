#pragma once
#include <ATen/detail/CUDAHooksInterface.h>

namespace athanor::rehearse::phantom {

/// What LibTorch asks about CUDA, answered as a machine with these GPUs would. Has no data: LibTorch creates its hooks
/// object once, perhaps before anyone rehearses, so installing means building this in that object's place.
class Hooks final : public at::CUDAHooksInterface {
 public:
  void init() const override {}
  [[nodiscard]] bool isBuilt() const override { return true; }
  [[nodiscard]] bool isAvailable() const override { return true; }
  [[nodiscard]] bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  [[nodiscard]] c10::DeviceIndex deviceCount() const override;
  [[nodiscard]] int getNumGPUs() const override { return deviceCount(); }
  [[nodiscard]] c10::DeviceIndex getCurrentDevice() const override;
  [[nodiscard]] c10::DeviceIndex current_device() const override { return getCurrentDevice(); }
  void setCurrentDevice(c10::DeviceIndex device) const override;
  [[nodiscard]] c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override;
  [[nodiscard]] c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override;
  [[nodiscard]] const at::Generator& getDefaultGenerator(c10::DeviceIndex device) const override;
  [[nodiscard]] at::Generator getNewGenerator(c10::DeviceIndex device) const override;
  at::Device getDeviceFromPtr(void*) const override { return {c10::kCUDA, getCurrentDevice()}; }
  [[nodiscard]] at::Allocator* getPinnedMemoryAllocator() const override;
  [[nodiscard]] at::Allocator* getCUDADeviceAllocator() const override;
  [[nodiscard]] bool hasCUDA() const override { return true; }
  [[nodiscard]] bool hasCUDART() const override { return true; }
  [[nodiscard]] bool hasCuDNN() const override { return true; }
  [[nodiscard]] bool hasCuBLASLt() const override { return true; }
  [[nodiscard]] bool hasMAGMA() const override { return true; }
  [[nodiscard]] bool hasCuSOLVER() const override { return true; }
  [[nodiscard]] bool compiledWithCuDNN() const override { return true; }
  [[nodiscard]] bool supportsDilatedConvolutionWithCuDNN() const override { return true; }
  [[nodiscard]] bool supportsDepthwiseConvolutionWithCuDNN() const override { return true; }
  [[nodiscard]] bool supportsBFloat16ConvolutionWithCuDNNv8() const override;
  [[nodiscard]] bool supportsBFloat16RNNWithCuDNN() const override { return supportsBFloat16ConvolutionWithCuDNNv8(); }
  // What the wheel of this LibTorch ships.
  [[nodiscard]] long versionCuDNN() const override { return 91900; }
  [[nodiscard]] long versionRuntimeCuDNN() const override { return 91900; }
  [[nodiscard]] long versionCuDNNFrontend() const override { return 11500; }
  [[nodiscard]] long versionCUDART() const override { return 13000; }
  [[nodiscard]] std::string showConfig() const override { return "  - phantom GPU (no CUDA)\n"; }
  [[nodiscard]] double batchnormMinEpsilonCuDNN() const override { return 0.0; }
  void deviceSynchronize(c10::DeviceIndex) const override;
};

/// Puts our hooks where LibTorch keeps its own, and LibTorch's plain ones ("no CUDA") back.
void install_hooks();
void remove_hooks();

}  // namespace athanor::rehearse::phantom
