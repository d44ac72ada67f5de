#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <c10/core/TensorImpl.h>

#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "athanor/nn/SavedTensors.h"

namespace athanor::nn {

struct CheckpointOptions {
  bool preserve_random =
      true;                ///< Recomputing draws the numbers that the first pass drew (dropout); costs 5 KB a call.
  bool stop_early = true;  ///< Recomputing ends at the last tensor that backward needs, not at the function's end.
  /// Called when recomputing begins: tensors the function changes in passing (running statistics), put back after it.
  std::function<std::vector<at::Tensor>()> restore = nullptr;
};

namespace detail {

/// One checkpointed call: what it takes to run it again, and a slot for each tensor that autograd saved in it.
class CheckpointFrame : public std::enable_shared_from_this<CheckpointFrame> {
 public:
  CheckpointFrame(CheckpointOptions options, std::vector<at::Device> devices);
  ~CheckpointFrame();
  /// The pack that keeps nothing: the call's own forward runs under it.
  [[nodiscard]] Pack forward_pack();
  /// How to run the function again; it takes its inputs from where they were saved.
  void set_rerun(std::function<void()> rerun);

 private:
  struct Slot;
  struct State;
  at::Tensor give_back(const std::shared_ptr<Slot>& slot);
  void recompute();
  [[nodiscard]] Pack recompute_pack();
  std::unique_ptr<State> state_;
};

/// An input as it is kept for recomputing: tensors are saved as autograd would save them, so that an outer checkpoint
/// drops them and an outer offload moves them; anything else is copied.
template <class Value>
class SavedInput {
 public:
  explicit SavedInput(const Value& value) : value_(value) {}
  [[nodiscard]] Value get() const { return value_; }

 private:
  Value value_;
};

template <>
class SavedInput<at::Tensor> {
 public:
  explicit SavedInput(const at::Tensor& tensor);
  [[nodiscard]] at::Tensor get() const;

 private:
  Unpack unpack_;
  c10::VariableVersion counter_;  // of the caller's tensor: shared with it, holds no data
  std::uint32_t version_ = 0;
  bool requires_grad_ = false;
};

template <>
class SavedInput<std::vector<at::Tensor>> {
 public:
  explicit SavedInput(const std::vector<at::Tensor>& tensors) : inputs_(tensors.begin(), tensors.end()) {}
  [[nodiscard]] std::vector<at::Tensor> get() const {
    std::vector<at::Tensor> tensors;
    for (const auto& input : inputs_) tensors.push_back(input.get());
    return tensors;
  }

 private:
  std::vector<SavedInput<at::Tensor>> inputs_;
};

template <class Value>
void collect_device(std::vector<at::Device>& devices, const Value& value) {
  if constexpr (std::is_same_v<Value, at::Tensor>) {
    if (value.defined()) devices.push_back(value.device());
  } else if constexpr (std::is_same_v<Value, std::vector<at::Tensor>>) {
    for (const auto& tensor : value) collect_device(devices, tensor);
  }
}

}  // namespace detail

/// fn(inputs…) whose activations are not kept but computed again in backward: memory for one more forward pass of fn.
/// Returns what fn returns. Gradients are those of the plain call, bit by bit where fn is deterministic, for the inputs
/// and for every parameter used inside. Random state and autocast are as in the first pass; calls nest; retain_graph
/// and create_graph work. fn must compute the same again: if it saves other tensors the second time, backward throws
/// athanor::Error. Inputs that are neither tensors nor vectors of them are copied. Non-reentrant, after
/// torch.utils.checkpoint(use_reentrant=False).
template <class Function, class... Inputs>
auto checkpoint(const CheckpointOptions& options, Function fn, const Inputs&... inputs) {
  if (!c10::GradMode::is_enabled()) return fn(inputs...);
  std::vector<at::Device> devices;
  (detail::collect_device(devices, inputs), ...);
  auto frame = std::make_shared<detail::CheckpointFrame>(options, std::move(devices));
  frame->set_rerun([fn, saved = std::make_tuple(detail::SavedInput<Inputs>(inputs)...)]() mutable {
    std::apply([&fn](const auto&... input) { (void)fn(input.get()...); }, saved);
  });
  const SavedTensorScope scope(frame->forward_pack());
  return fn(inputs...);
}

template <class Function, class... Inputs>
requires(!std::is_same_v<Function, CheckpointOptions>) auto checkpoint(Function fn, const Inputs&... inputs) {
  return checkpoint(CheckpointOptions{}, std::move(fn), inputs...);
}

}  // namespace athanor::nn
