// LSTM, GRU and plain recurrent layers: cuDNN's fused kernels, and the cells PyTorch fuses itself.
#include <ATen/ops/empty_like.h>

#include "rehearse/phantom/Recurrent.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

using Sizes = std::vector<std::int64_t>;

// _cudnn_rnn(input, weight, weight_stride0, weight_buf, hx, cx, mode, hidden_size, proj_size, num_layers, batch_first,
//            dropout, train, bidirectional, batch_sizes, dropout_state)
struct Layer {
  explicit Layer(const Call& call, std::size_t first)
      : mode(call.integer(first)),
        hidden(call.integer(first + 1)),
        projection(call.integer(first + 2)),
        layers(call.integer(first + 3)),
        batch_first(call.flag(first + 4)),
        train(call.flag(first + 6)),
        directions(call.flag(first + 7) ? 2 : 1),
        batch_sizes(call.integers(first + 8)) {}

  std::int64_t mode, hidden, projection, layers;
  bool batch_first, train;
  std::int64_t directions;
  Sizes batch_sizes;

  [[nodiscard]] std::int64_t output() const { return projection > 0 ? projection : hidden; }
  // Gates and states that backward reads: LSTM has four gates, a cell and an output, GRU three gates and two states.
  [[nodiscard]] std::int64_t kept_per_step() const { return mode == 2 ? 6 : mode == 3 ? 5 : 2; }
};

void cudnn_rnn(Call& call) {
  const Layer layer(call, 6);
  at::Tensor input = call.tensor(0);
  const bool packed = !layer.batch_sizes.empty();
  if (layer.batch_first && !packed) input = input.transpose(0, 1);
  input = input.contiguous();
  const auto dtype = input.scalar_type();
  const auto batch = packed ? layer.batch_sizes.front() : input.size(1);
  const auto rows = packed ? input.size(0) : input.size(0) * input.size(1);
  auto output = packed ? call.empty({rows, layer.output() * layer.directions}, dtype)
                       : call.empty({input.size(0), batch, layer.output() * layer.directions}, dtype);
  auto hy = call.empty({layer.layers * layer.directions, batch, layer.output()}, dtype);
  auto cy =
      call.has(5) ? call.empty({layer.layers * layer.directions, batch, layer.hidden}, dtype) : call.empty({0}, dtype);
  at::Tensor weights = call.tensor(3);
  if (!weights.defined()) {
    std::int64_t count = 0;
    for (const auto& weight : call.tensors(1)) count += weight.numel();
    weights = call.empty({count}, dtype);
  }
  const auto per_value =
      rows * layer.layers * layer.directions * layer.hidden * static_cast<std::int64_t>(input.element_size());
  const auto workspace = call.scratch(per_value, Confidence::estimate, 1, 8 * per_value);
  at::Tensor reserve = call.empty({0}, at::kByte);
  if (layer.train) reserve = reserve_space(per_value * layer.kept_per_step(), 2 * per_value, 10 * per_value);
  if (layer.batch_first && !packed) output = output.transpose(0, 1);
  call.returns({output, hy, cy, reserve, weights});
}

// _cudnn_rnn_backward(input, weight, weight_stride0, weight_buf, hx, cx, output, grad_output, grad_hy, grad_cy, mode,
// …,
//                     dropout_state, reserve, output_mask)
// Gradients that nothing gave are zeros.
at::Tensor given_or_zeros(const Call& call, std::size_t argument, std::size_t like) {
  return call.has(argument) ? call.tensor(argument)
                            : call.empty(call.tensor(like).sizes(), call.tensor(like).scalar_type());
}

// Input, hidden state and cell first, from contiguous copies, which go before the weights' turn.
std::vector<c10::IValue> input_gradients(const Call& call, const Layer& layer) {
  const auto grad_output = given_or_zeros(call, 7, 6);
  const auto grad_hy = given_or_zeros(call, 8, 4);
  const auto grad_cy = call.has(5) ? given_or_zeros(call, 9, 5) : at::Tensor();
  const bool swap = layer.batch_first && layer.batch_sizes.empty();
  const auto by_time = [&](const at::Tensor& tensor) { return swap ? tensor.transpose(0, 1) : tensor; };
  const auto input = by_time(call.tensor(0)).contiguous();
  const auto gradient = by_time(grad_output).contiguous();
  auto grad_input = call.empty(input.sizes(), input.scalar_type());
  const auto hidden = grad_hy.contiguous();
  const auto cell = grad_cy.defined() ? grad_cy.contiguous() : at::Tensor();
  auto grad_hx = call.empty(call.tensor(4).sizes(), input.scalar_type());
  const auto grad_cx = call.has(5) ? call.empty(call.tensor(5).sizes(), input.scalar_type()) : at::Tensor();
  const auto bytes = static_cast<std::int64_t>(input.nbytes());
  const auto workspace = call.scratch(bytes, Confidence::estimate, 1, 8 * bytes);
  return {by_time(grad_input), grad_hx, grad_cx};
}

// One buffer for all weights; their gradients look into it.
c10::List<at::Tensor> weight_gradients(const Call& call, const Layer& layer) {
  auto input = call.tensor(0);
  if (layer.batch_first && layer.batch_sizes.empty()) input = input.transpose(0, 1).contiguous();
  const auto buffer = call.empty(call.tensor(3).sizes(), call.tensor(3).scalar_type());
  const auto bytes = static_cast<std::int64_t>(input.nbytes());
  const auto workspace = call.scratch(bytes, Confidence::estimate, 1, 8 * bytes);
  c10::List<at::Tensor> grads;
  std::int64_t offset = 0;
  for (const auto& weight : call.tensors(1)) {
    grads.push_back(view_of(buffer, weight.sizes(), weight.strides(), offset, buffer.dtype()));
    offset += weight.numel();
  }
  return grads;
}

void cudnn_rnn_backward(Call& call) {
  const Layer layer(call, 10);
  if (!call.has(7) && !call.has(8) && !call.has(9)) {
    c10::List<at::Tensor> none;
    for (std::size_t i = 0; i < call.tensors(1).size(); ++i) none.push_back(at::Tensor());
    return call.returns({at::Tensor(), at::Tensor(), at::Tensor(), none});
  }
  auto results = input_gradients(call, layer);
  results.emplace_back(call.flags(21)[3] ? weight_gradients(call, layer) : c10::List<at::Tensor>());
  call.returns(std::move(results));
}

// _cudnn_rnn_flatten_weight(weights, …): one buffer, and the weights become views of it.
void flatten(Call& call) {
  std::int64_t count = 0;
  for (const auto& weight : call.tensors(0)) count += weight.numel();
  auto buffer = call.empty({count}, call.tensors(0).front().scalar_type());
  std::int64_t offset = 0;
  for (auto& weight : call.tensors(0)) {
    weight.set_(buffer.storage(), offset, weight.sizes(), weight.strides());
    offset += weight.numel();
  }
  call.returns({buffer});
}

// _thnn_fused_lstm_cell(input_gates, hidden_gates, cx, …)
void lstm_cell(Call& call) {
  auto workspace = at::empty_like(call.tensor(0), LEGACY_CONTIGUOUS_MEMORY_FORMAT);
  auto hy = at::empty_like(call.tensor(2), LEGACY_CONTIGUOUS_MEMORY_FORMAT);
  call.returns({hy, at::empty_like(call.tensor(2), LEGACY_CONTIGUOUS_MEMORY_FORMAT), workspace});
}

// _thnn_fused_lstm_cell_backward_impl(grad_hy, grad_cy, cx, cy, workspace, has_bias)
void lstm_cell_backward(Call& call) {
  auto gates = at::empty_like(call.tensor(4), LEGACY_CONTIGUOUS_MEMORY_FORMAT);
  auto grad_cx = at::empty_like(call.tensor(2), LEGACY_CONTIGUOUS_MEMORY_FORMAT);
  at::Tensor bias;
  if (call.flag(5)) bias = gates.sum(at::IntArrayRef{0}, false);
  call.returns({gates, grad_cx, bias});
}

// _thnn_fused_gru_cell(input_gates, hidden_gates, hx, …): five values kept per unit.
void gru_cell(Call& call) {
  const auto& hx = call.tensor(2);
  auto workspace = call.empty({hx.size(0), hx.size(1) * 5}, hx.scalar_type());
  call.returns({at::empty_like(hx, LEGACY_CONTIGUOUS_MEMORY_FORMAT), workspace});
}

// _thnn_fused_gru_cell_backward(grad_hy, workspace, has_bias)
void gru_cell_backward(Call& call) {
  const auto& gradient = call.tensor(0);
  const Sizes sizes{gradient.size(0), gradient.size(1) * 3};
  auto input_gates = call.empty(sizes, gradient.scalar_type());
  auto hidden_gates = call.empty(sizes, gradient.scalar_type());
  auto grad_hx = at::empty_like(gradient, LEGACY_CONTIGUOUS_MEMORY_FORMAT);
  at::Tensor input_bias;
  at::Tensor hidden_bias;
  if (call.flag(2)) {
    input_bias = input_gates.sum(at::IntArrayRef{0}, false);
    hidden_bias = hidden_gates.sum(at::IntArrayRef{0}, false);
  }
  call.returns({input_gates, hidden_gates, grad_hx, input_bias, hidden_bias});
}

}  // namespace

void add_recurrent(Table& table) {
  constexpr auto source = "aten/src/ATen/native/cudnn/RNN.cpp; workspace and reserve are cuDNN's choice";
  constexpr auto cells = "aten/src/ATen/native/cuda/RNN.cu";
  table.rule("_cudnn_rnn", &cudnn_rnn, source, Confidence::estimate);
  table.rule("_cudnn_rnn_backward", &cudnn_rnn_backward, source, Confidence::estimate);
  table.rule("_cudnn_rnn_flatten_weight", &flatten, source, Confidence::estimate);
  table.rule(
      "_cudnn_init_dropout_state",
      [](Call& call) {
        // One state per resident thread, 48 bytes each on the cards where it was seen.
        call.returns({call.empty({dropout_state_bytes()}, at::kByte)});
      },
      source, Confidence::estimate);
  table.rule("_thnn_fused_lstm_cell", &lstm_cell, cells);
  table.rule("_thnn_fused_lstm_cell_backward_impl", &lstm_cell_backward, cells);
  table.rule("_thnn_fused_gru_cell", &gru_cell, cells);
  table.rule("_thnn_fused_gru_cell_backward", &gru_cell_backward, cells);
}

}  // namespace athanor::rehearse::phantom
