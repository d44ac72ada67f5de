#include "athanor/plan/Work.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/function_schema.h>
#include <ATen/record_function.h>

#include <atomic>
#include <mutex>
#include <unordered_set>

#include "plan/Flops.h"

namespace athanor::plan {
namespace {

/// One running operator on a thread, to see which are made of others.
struct Frame final : at::ObserverContext {
  bool has_children = false;
  bool whole = false;   // counted whole: what it is made of counts for nothing
  bool inside = false;  // of one that is counted whole
  bool free = false;
  Frame* parent = nullptr;
  Work work;
};

thread_local Frame* current = nullptr;

// They hand out or reinterpret memory; no kernel runs.
bool is_free(std::string_view op) {
  static const std::unordered_set<std::string_view> free{"aten::view",
                                                         "aten::reshape",
                                                         "aten::_unsafe_view",
                                                         "aten::as_strided",
                                                         "aten::transpose",
                                                         "aten::t",
                                                         "aten::permute",
                                                         "aten::expand",
                                                         "aten::select",
                                                         "aten::slice",
                                                         "aten::narrow",
                                                         "aten::unsqueeze",
                                                         "aten::squeeze",
                                                         "aten::squeeze_",
                                                         "aten::detach",
                                                         "aten::detach_",
                                                         "aten::alias",
                                                         "aten::empty",
                                                         "aten::empty_strided",
                                                         "aten::empty_like",
                                                         "aten::split",
                                                         "aten::unbind",
                                                         "aten::view_as",
                                                         "aten::flatten",
                                                         "aten::resolve_conj",
                                                         "aten::resolve_neg",
                                                         "aten::set_",
                                                         "aten::resize_",
                                                         "aten::result_type",
                                                         "aten::new_empty",
                                                         "aten::is_pinned",
                                                         "aten::_has_compatible_shallow_copy_type",
                                                         "aten::new_empty_strided",
                                                         "aten::unflatten",
                                                         "aten::chunk",
                                                         "aten::expand_as",
                                                         "aten::_reshape_alias",
                                                         "aten::split_with_sizes",
                                                         "aten::requires_grad_",
                                                         "aten::output_nr",
                                                         "aten::_version",
                                                         "aten::is_leaf",
                                                         "aten::retain_grad",
                                                         "aten::data",
                                                         "aten::_local_scalar_dense",
                                                         "aten::item",
                                                         "aten::unsafe_split",
                                                         "aten::lift_fresh",
                                                         "aten::movedim"};
  return free.contains(op);
}

struct Traffic {
  double device = 0, host = 0;

  void add(const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    const auto bytes = static_cast<double>(tensor.numel()) * static_cast<double>(tensor.itemsize());
    (tensor.is_cpu() ? host : device) += bytes;
  }
  void add(const c10::IValue& value) {
    if (value.isTensor()) add(value.toTensor());
    if (value.isTensorList())
      for (const at::Tensor& tensor : value.toTensorList()) add(tensor);
  }
};

// They read only as much of their first argument as they return.
bool gathers(std::string_view op) {
  return op == "aten::embedding" || op == "aten::index_select" || op == "aten::gather" || op == "aten::index";
}

// Inputs can be seen when an operator starts, outputs when it ends.
Traffic read_by(const at::RecordFunction& function) {
  const std::string_view op = function.name();
  const auto inputs = function.inputs();
  Traffic traffic;
  for (std::size_t i = gathers(op) ? 1 : 0; i < inputs.size(); ++i) traffic.add(inputs[i]);
  if (op == "aten::fill_" || op == "aten::zero_") traffic.device = 0;
  // Operators over lists of tensors that return nothing say in their schema what they write; reading it is slow.
  if (!op.starts_with("aten::_fused") && !op.starts_with("aten::_foreach") && !op.starts_with("aten::_amp"))
    return traffic;
  const auto schema = function.operator_schema();
  if (!schema || !schema->returns().empty()) return traffic;
  for (std::size_t i = 0; i < inputs.size() && i < schema->arguments().size(); ++i)
    if (const auto* alias = schema->arguments()[i].alias_info(); alias != nullptr && alias->isWrite())
      traffic.add(inputs[i]);
  return traffic;
}

at::ScalarType dtype_of(c10::ArrayRef<c10::IValue> inputs) {
  for (const auto& input : inputs)
    if (input.isTensor() && input.toTensor().defined() && at::isFloatingType(input.toTensor().scalar_type()))
      return input.toTensor().scalar_type();
  return at::kFloat;
}

std::string rate_of(std::string_view op, at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return "bf16";
  if (dtype == at::kHalf) return "fp16";
  const auto& context = at::globalContext();
  const bool convolution = op.find("convolution") != std::string_view::npos;
  return (convolution ? context.allowTF32CuDNN() : context.allowTF32CuBLAS()) ? "tf32" : "fp32";
}

}  // namespace

struct WorkCounter::State {
  bool device_only;
  std::mutex mutex;
  std::vector<Work> notes;
  at::CallbackHandle handle = 0;

  void begin(Frame& frame, const at::RecordFunction& function) const;
  void end(Frame& frame, const at::RecordFunction& function);
};

void WorkCounter::State::begin(Frame& frame, const at::RecordFunction& function) const {
  const std::string_view op = function.name();
  const auto traffic = read_by(function);
  frame.work = {std::string(op), "", 0, traffic.device + (device_only ? 0 : traffic.host), 0};
  if (op == "aten::copy_") frame.work.host_bytes = traffic.host;
  if (const auto count = flops(op, function.inputs())) {
    frame.work.flops = *count;
    frame.work.rate = rate_of(op, dtype_of(function.inputs()));
  }
}

void WorkCounter::State::end(Frame& frame, const at::RecordFunction& function) {
  Traffic written;
  for (const auto& output : function.outputs()) written.add(output);
  if (gathers(frame.work.op)) written.device *= 2;
  frame.work.bytes += written.device + (device_only ? 0 : written.host);
  if (frame.work.bytes == 0 && frame.work.flops == 0) return;
  const std::lock_guard lock(mutex);
  notes.push_back(std::move(frame.work));
}

namespace {

// The callbacks are plain functions, so the one counter that counts is known by this pointer.
std::atomic<WorkCounter::State*> counting = nullptr;

std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& function) {
  auto frame = std::make_unique<Frame>();
  frame->parent = current;
  frame->whole = has_flops(function.name());
  frame->free = is_free(function.name());
  if (current != nullptr) {
    frame->inside = current->whole || current->inside;
    if (!frame->free) current->has_children = true;
  }
  current = frame.get();
  if (const auto* state = counting.load(); state != nullptr && !frame->free && !frame->inside)
    state->begin(*frame, function);
  return frame;
}

void on_end(const at::RecordFunction& function, at::ObserverContext* context) {
  auto& frame = *static_cast<Frame*>(context);
  current = frame.parent;
  if (frame.free || frame.inside || (frame.has_children && !frame.whole)) return;
  if (auto* state = counting.load()) state->end(frame, function);
}

}  // namespace

WorkCounter::WorkCounter(bool device_only) : state_(std::make_unique<State>()) {
  state_->device_only = device_only;
  counting = state_.get();
  state_->handle = at::addGlobalCallback(at::RecordFunctionCallback(on_start, on_end)
                                             .needsInputs(true)
                                             .needsOutputs(true)
                                             .scopes({at::RecordScope::FUNCTION}));
}

WorkCounter::~WorkCounter() {
  at::removeCallback(state_->handle);
  counting = nullptr;
}

std::vector<Work> WorkCounter::take() {
  const std::lock_guard lock(state_->mutex);
  return std::exchange(state_->notes, {});
}

}  // namespace athanor::plan
