#include "nn/Transfer.h"

#include <ATen/ops/empty_strided.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace athanor::nn {
namespace {

c10::Stream computing_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

}  // namespace

void Transfer::Ticket::wait() {
  if (done_) done_->block(computing_stream(*device_));
  done_.reset();
}

std::pair<at::Tensor, Transfer::Ticket> Transfer::to_host(const at::Tensor& tensor) {
  const auto options = tensor.options().device(at::kCPU).pinned_memory(!tensor.is_cpu());
  return copy(tensor, at::empty_strided(tensor.sizes(), tensor.strides(), options), tensor.device());
}

std::pair<at::Tensor, Transfer::Ticket> Transfer::to_device(const at::Tensor& host, c10::Device device) {
  const auto options = host.options().pinned_memory(false).device(device);
  return copy(host, at::empty_strided(host.sizes(), host.strides(), options), device);
}

std::pair<at::Tensor, Transfer::Ticket> Transfer::copy(const at::Tensor& from, at::Tensor to, c10::Device device) {
  if (device.is_cpu()) return {to.copy_(from), Ticket()};
  // The source may still be being computed, and the destination's memory still be used by what had it before.
  c10::Event ready(device.type());
  ready.record(computing_stream(device));
  const auto side = side_stream(device);
  ready.block(side);
  const c10::StreamGuard on_side(side);
  to.copy_(from, /*non_blocking=*/true);
  c10::Event done(device.type());
  done.record(side);
  return {to, Ticket(std::move(done), device)};
}

c10::Stream Transfer::side_stream(c10::Device device) {
  auto found = streams_.find(device);
  if (found == streams_.end()) {
    const c10::impl::VirtualGuardImpl guard(device.type());
    found = streams_.emplace(device, guard.getStreamFromGlobalPool(device)).first;
  }
  return found->second;
}

}  // namespace athanor::nn
