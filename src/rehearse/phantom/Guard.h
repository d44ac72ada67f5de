#pragma once
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include "rehearse/phantom/Recorder.h"

namespace athanor::rehearse::phantom {

/// Devices and streams of the phantom. Work is never queued: an event has always happened, but blocks used by a second
/// stream are held until the program synchronises with it, the latest moment a GPU could need them.
class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  explicit Guard(int devices) : devices_(devices) {}

  /// Where this thread allocates now.
  static Place place();
  static Place place(c10::DeviceIndex device);
  static void move_to(c10::DeviceIndex device);

  [[nodiscard]] c10::DeviceType type() const override { return c10::kCUDA; }
  [[nodiscard]] c10::Device exchangeDevice(c10::Device device) const override;
  [[nodiscard]] c10::Device getDevice() const override;
  void setDevice(c10::Device device) const override;
  void uncheckedSetDevice(c10::Device device) const noexcept override;
  [[nodiscard]] c10::Stream getStream(c10::Device device) const override;
  [[nodiscard]] c10::Stream getDefaultStream(c10::Device device) const override;
  [[nodiscard]] c10::Stream getStreamFromGlobalPool(c10::Device device, bool high_priority) const override;
  [[nodiscard]] c10::Stream getNewStream(c10::Device device, int priority) const override;
  c10::Stream exchangeStream(c10::Stream stream) const override;
  [[nodiscard]] c10::DeviceIndex deviceCount() const noexcept override;
  void record(void** event, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override;
  void block(void*, const c10::Stream&) const override {}
  [[nodiscard]] bool queryEvent(void*) const override { return true; }
  [[nodiscard]] bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream& stream) const override;
  void synchronizeEvent(void*) const override {}
  void synchronizeDevice(c10::DeviceIndex) const override;
  void recordDataPtrOnStream(const c10::DataPtr& pointer, const c10::Stream& stream) const override;

 private:
  int devices_;
};

}  // namespace athanor::rehearse::phantom
