#include "rehearse/phantom/Guard.h"

#include <array>
#include <atomic>

#include "rehearse/phantom/Memory.h"

namespace athanor::rehearse::phantom {
namespace {

constexpr int most_devices = 64;
constexpr int pool_size = 32;  // streams PyTorch keeps for a device and priority
thread_local c10::DeviceIndex current_device = 0;
thread_local std::array<c10::StreamId, most_devices> current_stream{};

c10::StreamId& stream_of(c10::DeviceIndex device) {
  return current_stream.at(static_cast<std::size_t>(device));
}

}  // namespace

Place Guard::place() {
  return place(current_device);
}
Place Guard::place(c10::DeviceIndex device) {
  return {device, static_cast<std::uint64_t>(stream_of(device))};
}

void Guard::move_to(c10::DeviceIndex device) {
  current_device = device;
}

c10::Device Guard::exchangeDevice(c10::Device device) const {
  const auto before = getDevice();
  setDevice(device);
  return before;
}
c10::Device Guard::getDevice() const {
  return {c10::kCUDA, current_device};
}
void Guard::setDevice(c10::Device device) const {
  if (!device.has_index()) return;
  TORCH_CHECK(device.index() < devices_, "phantom GPU: no device ", device, "; the rehearsal has ", devices_);
  current_device = device.index();
}
void Guard::uncheckedSetDevice(c10::Device device) const noexcept {
  if (device.has_index() && device.index() < devices_) current_device = device.index();
}

c10::Stream Guard::getStream(c10::Device device) const {
  const auto index = device.has_index() ? device.index() : current_device;
  return c10::Stream(c10::Stream::UNSAFE, c10::Device(c10::kCUDA, index), stream_of(index));
}
c10::Stream Guard::getDefaultStream(c10::Device device) const {
  return c10::Stream(c10::Stream::DEFAULT,
                     c10::Device(c10::kCUDA, device.has_index() ? device.index() : current_device));
}
c10::Stream Guard::getStreamFromGlobalPool(c10::Device device, bool /*high_priority*/) const {
  static std::atomic<int> next{0};
  const auto index = device.has_index() ? device.index() : current_device;
  return c10::Stream(c10::Stream::UNSAFE, c10::Device(c10::kCUDA, index), 1 + next++ % pool_size);
}
c10::Stream Guard::getNewStream(c10::Device device, int priority) const {
  return getStreamFromGlobalPool(device, priority < 0);
}
c10::Stream Guard::exchangeStream(c10::Stream stream) const {
  const auto before = getStream(stream.device());
  stream_of(stream.device_index()) = stream.id();
  return before;
}

c10::DeviceIndex Guard::deviceCount() const noexcept {
  return static_cast<c10::DeviceIndex>(devices_);
}

// An event needs no state; any non-null handle will do.
void Guard::record(void** event, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const {
  static int happened = 0;
  *event = &happened;
}

void Guard::synchronizeStream(const c10::Stream& stream) const {
  if (const auto& recorder = Memory::instance().recorder())
    recorder->synchronize(static_cast<std::uint64_t>(stream.id()));
}
void Guard::synchronizeDevice(c10::DeviceIndex) const {
  if (const auto& recorder = Memory::instance().recorder())
    for (std::uint64_t stream = 0; stream <= pool_size; ++stream) recorder->synchronize(stream);
}

void Guard::recordDataPtrOnStream(const c10::DataPtr& pointer, const c10::Stream& stream) const {
  Memory::instance().record_stream(pointer, static_cast<std::uint64_t>(stream.id()));
}

}  // namespace athanor::rehearse::phantom
