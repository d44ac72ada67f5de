#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <map>
#include <optional>

namespace athanor::nn {

/// Copies between a device and the host on a stream of their own, ordered against the stream that computes. For tensors
/// in host memory a plain copy.
class Transfer {
 public:
  /// A copy that may be under way; whoever uses its result or reuses its source first calls `wait`.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(c10::Event done, c10::Device device) : done_(std::move(done)), device_(device) {}
    /// Makes the computing stream, not the host, wait for the copy. The first call counts.
    void wait();

   private:
    std::optional<c10::Event> done_;
    std::optional<c10::Device> device_;
  };

  /// A host copy with the same strides, pinned where the source is on a GPU.
  std::pair<at::Tensor, Ticket> to_host(const at::Tensor& tensor);
  std::pair<at::Tensor, Ticket> to_device(const at::Tensor& host, c10::Device device);

 private:
  c10::Stream side_stream(c10::Device device);
  std::pair<at::Tensor, Ticket> copy(const at::Tensor& from, at::Tensor to, c10::Device device);
  std::map<c10::Device, c10::Stream, bool (*)(const c10::Device&, const c10::Device&)> streams_{
      [](const c10::Device& a, const c10::Device& b) { return a.index() < b.index(); }};
};

}  // namespace athanor::nn
