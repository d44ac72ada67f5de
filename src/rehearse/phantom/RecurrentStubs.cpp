#include <ATen/autocast_mode.h>
#include <ATen/native/RNN.h>
#include <ATen/ops/_cudnn_init_dropout_state.h>
#include <ATen/ops/_cudnn_rnn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <map>
#include <mutex>

#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Recurrent.h"
#include "rehearse/phantom/Tensors.h"

namespace athanor::rehearse::phantom {
namespace {

using at::Tensor;
using at::TensorList;

enum Mode : std::int64_t { relu = 0, tanh = 1, lstm = 2, gru = 3 };

struct Settings {
  std::int64_t mode, layers;
  double dropout;
  bool train, bidirectional, batch_first;
};

// The weights' common buffer, where flatten_parameters made one.
Tensor buffer_of(TensorList weights) {
  std::int64_t count = 0;
  for (const auto& weight : weights) {
    if (!weight.storage().is_alias_of(weights[0].storage())) return {};
    count += weight.numel();
  }
  const auto& storage = weights[0].storage();
  if (static_cast<std::int64_t>(storage.nbytes()) != count * static_cast<std::int64_t>(weights[0].element_size()))
    return {};
  return view_of(weights[0], {count}, {1}, 0, weights[0].dtype());
}

// A device's first recurrent layer with dropout makes the generators' states, which stay.
std::mutex dropout_mutex;
std::map<c10::DeviceIndex, Tensor>& dropout_states() {
  static auto* states = new std::map<c10::DeviceIndex, Tensor>;
  return *states;
}
Tensor dropout_state_of(const Tensor& input) {
  const std::lock_guard lock(dropout_mutex);
  auto& state = dropout_states()[input.device().index()];
  if (!state.defined()) state = at::_cudnn_init_dropout_state(0.5, true, 0, input.options().dtype(at::kByte));
  return state;
}

std::tuple<Tensor, Tensor, Tensor> run(const Tensor& input, const Tensor& hx, const Tensor& cx, TensorList weights,
                                       bool biases, const Settings& settings, at::IntArrayRef batch_sizes = {}) {
  const auto hidden = cx.defined() ? cx.size(2) : hx.size(2);
  const bool projected = cx.defined() && cx.size(2) != hx.size(2);
  const auto dropout_state = settings.dropout > 0 && settings.train ? dropout_state_of(input) : Tensor();
  const auto stride = (biases ? 4 : 2) + (projected ? 1 : 0);
  auto [output, hy, cy, reserve, buffer] = at::_cudnn_rnn(
      input, weights, stride, buffer_of(weights), hx, cx.defined() ? std::optional(cx) : std::nullopt, settings.mode,
      hidden, projected ? hx.size(2) : 0, settings.layers, settings.batch_first, settings.dropout, settings.train,
      settings.bidirectional, batch_sizes, dropout_state.defined() ? std::optional(dropout_state) : std::nullopt);
  return {output, hy, cy};
}

void run_lstm(Tensor& output, Tensor& hy, Tensor& cy, const Tensor& input, TensorList hx, TensorList weights,
              bool biases, std::int64_t layers, double dropout, bool train, bool bidirectional, bool batch_first) {
  std::tie(output, hy, cy) =
      run(input, hx[0], hx[1], weights, biases, {lstm, layers, dropout, train, bidirectional, batch_first});
}

template <std::int64_t mode>
void run_rnn(Tensor& output, Tensor& hy, const Tensor& input, const Tensor& hx, TensorList weights, bool biases,
             std::int64_t layers, double dropout, bool train, bool bidirectional, bool batch_first) {
  std::tie(output, hy, std::ignore) =
      run(input, hx, Tensor(), weights, biases, {mode, layers, dropout, train, bidirectional, batch_first});
}

std::vector<std::int64_t> listed(const Tensor& batch_sizes) {
  const auto* first = batch_sizes.const_data_ptr<std::int64_t>();  // on the host, in every packed sequence
  return {first, first + batch_sizes.numel()};
}

void run_packed_lstm(Tensor& output, Tensor& hy, Tensor& cy, const Tensor& input, const Tensor& batch_sizes,
                     TensorList hx, TensorList weights, bool biases, std::int64_t layers, double dropout, bool train,
                     bool bidirectional) {
  std::tie(output, hy, cy) = run(input, hx[0], hx[1], weights, biases,
                                 {lstm, layers, dropout, train, bidirectional, false}, listed(batch_sizes));
}

template <std::int64_t mode>
void run_packed_rnn(Tensor& output, Tensor& hy, const Tensor& input, const Tensor& batch_sizes, const Tensor& hx,
                    TensorList weights, bool biases, std::int64_t layers, double dropout, bool train,
                    bool bidirectional) {
  std::tie(output, hy, std::ignore) = run(input, hx, Tensor(), weights, biases,
                                          {mode, layers, dropout, train, bidirectional, false}, listed(batch_sizes));
}

}  // namespace

Tensor reserve_space(std::int64_t bytes, std::int64_t low, std::int64_t high) {
  auto pointer = Memory::instance().allocate({bytes, Confidence::estimate, low, high}, Guard::place());
  auto storage = c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), bytes, std::move(pointer),
                                                       &Memory::instance(), false);
  auto tensor = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(std::move(storage)),
                                                         c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                                         caffe2::TypeMeta::Make<std::uint8_t>());
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous({bytes});
  return tensor;
}

std::int64_t dropout_state_bytes() {
  return std::int64_t{48} * traits().sm_count * traits().threads_per_sm;
}

void cast_recurrent(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  enum Argument : std::size_t { input = 0, weights = 1, buffer = 3, hx = 4, cx = 5 };
  const auto base = stack->size() - op.schema().arguments().size();
  const auto argument = [&](std::size_t i) -> c10::IValue& { return (*stack)[base + i]; };
  const auto old = argument(weights).toTensorVector();
  if (old.front().scalar_type() == at::kFloat) {
    std::int64_t count = 0;
    for (const auto& weight : old) count += weight.numel();
    const auto whole = at::zeros({count}, old.front().options().dtype(at::kHalf));
    c10::List<Tensor> halves;
    std::int64_t offset = 0;
    for (const auto& weight : old) {
      auto half = view_of(whole, weight.sizes(), weight.strides(), offset, whole.dtype());
      halves.push_back(half.copy_(weight));
      offset += weight.numel();
    }
    argument(weights) = halves;
    argument(buffer) = whole;
  }
  for (const auto i : {input, hx, cx})
    if (auto& value = argument(i); value.isTensor())
      value = at::autocast::cached_cast(at::kHalf, value.toTensor(), c10::kCUDA);
  op.callBoxed(stack);
}

void install_recurrent_stubs(bool on) {
  if (!on) dropout_states().clear();
  namespace native = at::native;
  native::lstm_cudnn_stub.set_cuda_dispatch_ptr(on ? &run_lstm : nullptr);
  native::gru_cudnn_stub.set_cuda_dispatch_ptr(on ? &run_rnn<gru> : nullptr);
  native::rnn_tanh_cudnn_stub.set_cuda_dispatch_ptr(on ? &run_rnn<tanh> : nullptr);
  native::rnn_relu_cudnn_stub.set_cuda_dispatch_ptr(on ? &run_rnn<relu> : nullptr);
  native::lstm_packed_cudnn_stub.set_cuda_dispatch_ptr(on ? &run_packed_lstm : nullptr);
  native::gru_packed_cudnn_stub.set_cuda_dispatch_ptr(on ? &run_packed_rnn<gru> : nullptr);
  native::rnn_tanh_packed_cudnn_stub.set_cuda_dispatch_ptr(on ? &run_packed_rnn<tanh> : nullptr);
  native::rnn_relu_packed_cudnn_stub.set_cuda_dispatch_ptr(on ? &run_packed_rnn<relu> : nullptr);
}

}  // namespace athanor::rehearse::phantom
