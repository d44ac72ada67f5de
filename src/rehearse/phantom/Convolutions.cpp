#include "rehearse/phantom/Convolutions.h"

#include <ATen/native/ConvUtils.h>

#include <algorithm>

#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Tensors.h"

namespace athanor::rehearse::phantom {

void bound_cudnn_workspace(const at::Tensor& input, const at::Tensor& filter, const at::Tensor& output) {
  const auto channels_last = input.dim() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast;
  if (input.dim() > 3 && input.is_contiguous(channels_last)) return;
  const auto bound = static_cast<std::int64_t>(input.nbytes() + filter.nbytes() + output.nbytes());
  const auto scratch = Memory::instance().allocate({1, Confidence::estimate, 1, bound}, Guard::place());
}

namespace {

const std::uint16_t backward_name = operator_index("aten::cudnn_convolution_backward");

// A plan for whose workspace there is no memory gives way to the next.
void take_first_that_fits(const std::vector<Scratch>& plans) {
  for (std::size_t i = 0; i < plans.size(); ++i) {
    try {
      const auto scratch = Memory::instance().allocate(plans[i], Guard::place());
      return;
    } catch (const c10::OutOfMemoryError&) {
      if (i + 1 == plans.size()) throw;
    }
  }
}

// As get_plans_from_find does: one workspace, the largest there is memory for, serves the trials of all, and the cache
// is emptied after them. Then any may be the fastest; the heuristics' order stands for it.
std::vector<Scratch> after_trials(std::vector<Scratch> plans, bool first_trial) {
  auto falling = plans;
  std::sort(falling.begin(), falling.end(), [](const Scratch& a, const Scratch& b) { return a.bytes > b.bytes; });
  if (first_trial) {
    take_first_that_fits(falling);
    Memory::instance().recorder()->empty_cache();
  }
  // A block of no bytes has no place in the ledger for its bounds.
  const auto some = [](std::int64_t bytes) { return std::max<std::int64_t>(bytes, 1); };
  for (auto& plan : plans)
    plan = {some(plan.bytes), Confidence::estimate, some(falling.back().bytes), some(falling.front().bytes)};
  return plans;
}

bool makes_nothing(const Convolution& convolution) {
  const auto& made = convolution.pass == Pass::forward ? convolution.output
                     : convolution.pass == Pass::data  ? convolution.input
                                                       : convolution.filter;
  return made.numel() == 0;
}

// A transposed convolution's backward runs the plain one: what was made of the input there is now made of the gradient.
Two backward(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& filter, bool transposed,
             const ConvolutionSettings& settings, std::array<bool, 2> wanted) {
  const auto format = at::native::cudnn_conv_suggest_memory_format(input, filter);
  const Scope scope(backward_name);
  const auto output = gradient.contiguous(format);
  at::Tensor grad_input;
  at::Tensor grad_filter;
  if (wanted[0]) {
    const auto contiguous = filter.contiguous(format);
    grad_input = make(input.sizes(), output.scalar_type(), format);
    if (transposed)
      take_cudnn_workspace({Pass::forward, output, contiguous, grad_input, settings});
    else
      take_cudnn_workspace({Pass::data, grad_input, contiguous, output, settings});
  }
  if (wanted[1]) {
    const auto contiguous = input.contiguous(format);
    grad_filter = make(filter.sizes(), output.scalar_type(), format);
    take_cudnn_workspace(
        {Pass::filter, transposed ? output : contiguous, grad_filter, transposed ? contiguous : output, settings});
  }
  return {grad_input, grad_filter};
}

}  // namespace

void take_cudnn_workspace(const Convolution& convolution) {
  if (makes_nothing(convolution)) return;
  auto* library = cudnn();
  const auto workspaces = library != nullptr ? library->workspaces(convolution) : std::vector<std::int64_t>{};
  if (workspaces.empty()) return bound_cudnn_workspace(convolution.input, convolution.filter, convolution.output);
  std::vector<Scratch> plans;
  for (const auto bytes : workspaces) plans.push_back({bytes, Confidence::source});
  if (convolution.settings.benchmark) plans = after_trials(std::move(plans), library->first_trial(convolution));
  take_first_that_fits(plans);
}

Two cudnn_backward(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& filter,
                   at::IntArrayRef padding, at::IntArrayRef stride, at::IntArrayRef dilation, std::int64_t,
                   bool benchmark, bool deterministic, bool tf32, std::array<bool, 2> wanted) {
  return backward(input, gradient, filter, false, {padding, stride, dilation, benchmark, deterministic, tf32}, wanted);
}

Two cudnn_transpose_backward(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& filter,
                             at::IntArrayRef padding, at::IntArrayRef, at::IntArrayRef stride, at::IntArrayRef dilation,
                             std::int64_t, bool benchmark, bool deterministic, bool tf32, std::array<bool, 2> wanted) {
  return backward(input, gradient, filter, true, {padding, stride, dilation, benchmark, deterministic, tf32}, wanted);
}

Two depthwise2d_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter, at::IntArrayRef,
                         at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, std::array<bool, 2> wanted) {
  const auto output = gradient.contiguous();
  at::Tensor grad_input;
  at::Tensor grad_filter;
  if (wanted[0]) {
    const auto contiguous = filter.contiguous();
    grad_input = make(input.sizes(), output.scalar_type());
  }
  if (wanted[1]) {
    const auto contiguous = input.contiguous();
    grad_filter = make(filter.sizes(), output.scalar_type());
  }
  return {grad_input, grad_filter};
}

Three depthwise3d_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter,
                           at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                           std::array<bool, 3> wanted) {
  auto [grad_input, grad_filter] =
      depthwise2d_backward(gradient, input, filter, {}, {}, {}, {}, {wanted[0], wanted[1]});
  return {grad_input, grad_filter, at::Tensor()};
}

// One sample's unfolded columns at a time.
Three dilated_backward(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& filter,
                       at::IntArrayRef kernel, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                       std::array<bool, 3> wanted) {
  const auto output = gradient.contiguous();
  const auto contiguous = input.contiguous();
  at::Tensor grad_input;
  at::Tensor grad_filter;
  at::Tensor grad_bias;
  if (wanted[0]) grad_input = make(input.sizes(), input.scalar_type());
  if (wanted[1]) grad_filter = make(filter.sizes(), filter.scalar_type());
  if (wanted[2]) grad_bias = make({filter.size(0)}, filter.scalar_type());
  std::int64_t columns = input.size(1) * static_cast<std::int64_t>(input.element_size());
  for (const auto length : kernel) columns *= length;
  for (std::int64_t i = 2; i < output.dim(); ++i) columns *= output.size(i);
  const auto scratch = Memory::instance().allocate({columns, Confidence::source}, Guard::place());
  return {grad_input, grad_filter, grad_bias};
}

}  // namespace athanor::rehearse::phantom
