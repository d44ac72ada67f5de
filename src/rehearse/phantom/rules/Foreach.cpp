// Operators over lists of tensors, and the optimizers and gradient checks that are single kernels over such lists.
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty_like.h>

#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

// Results one by one, each like its input, as the fast path makes them (and the slow path too).
void each_like(Call& call, std::size_t list) {
  c10::List<at::Tensor> results;
  for (const auto& tensor : call.tensors(list)) results.push_back(at::empty_like(tensor));
  call.returns({results});
}

constexpr std::int64_t chunk = 65536;  // elements a thread block takes

// _foreach_norm(self, ord, dtype): partial results per tensor and chunk, then one scalar each.
// Source: aten/src/ATen/native/cuda/ForeachReduceOp.cu.
void norms(Call& call) {
  const auto tensors = call.tensors(0);
  const auto count = static_cast<std::int64_t>(tensors.size());
  std::int64_t most_chunks = 0;
  for (const auto& tensor : tensors) most_chunks = std::max(most_chunks, (tensor.numel() + chunk - 1) / chunk);
  const auto& first = tensors.front();
  const auto dtype = call.dtype(2).value_or(first.scalar_type());
  const bool low = first.scalar_type() == at::kHalf || first.scalar_type() == at::kBFloat16;
  const auto partials = call.empty({count * most_chunks}, low ? at::kFloat : dtype);
  c10::List<at::Tensor> results;
  std::vector<at::Tensor> scalars;
  for (std::int64_t i = 0; i < count; ++i) results.push_back(call.empty({}, dtype));
  const auto addresses = call.scratch(count * 8);
  call.returns({results});
}

// _foreach_max(self): likewise.
void maxima(Call& call) {
  c10::List<at::Tensor> results;
  const auto tensors = call.tensors(0);
  std::int64_t most_chunks = 0;
  for (const auto& tensor : tensors) most_chunks = std::max(most_chunks, (tensor.numel() + chunk - 1) / chunk);
  const auto partials =
      call.empty({static_cast<std::int64_t>(tensors.size()) * most_chunks}, tensors.front().scalar_type());
  for (const auto& tensor : tensors) results.push_back(call.empty({}, tensor.scalar_type()));
  call.returns({results});
}

// What the scaler's check writes, and what fused optimizers read of it: whether a gradient overflowed.
void with_flag(Call& call, std::size_t flag) {
  if (call.has(flag)) Memory::instance().recorder()->mark_flag(call.tensor(flag));
  call.returns_written();
}

bool starts(const std::string& text, std::string_view with) {
  return text.rfind(with, 0) == 0;
}

// Every operator of the family that the library has, so that a newer LibTorch's are covered too.
void add_family(Table& table, const c10::OperatorName& name) {
  const std::string op = name.name.substr(6) + (name.overload_name.empty() ? "" : "." + name.overload_name);
  const bool in_place = name.name.back() == '_';
  if (name.overload_name.find("out") != std::string::npos) return;
  constexpr auto launch = "one kernel over the list; its tables travel as launch arguments";
  if (in_place && (starts(op, "_fused_ada") || starts(op, "_fused_sgd")))
    return table.in_place(op, launch, [](Call& call) { with_flag(call, call.size() - 1); });
  if (op == "_amp_foreach_non_finite_check_and_unscale_")
    return table.in_place(op, launch, [](Call& call) { with_flag(call, 1); });
  if (in_place && (starts(op, "_foreach_") || starts(op, "_amp_"))) return table.in_place(op, launch);
  if (!starts(op, "_foreach_") || in_place) return;
  if (op == "_foreach_norm.Scalar" || op == "_foreach_powsum.Scalar" || op == "_foreach_max") return;
  const std::size_t list = op == "_foreach_pow.ScalarAndTensor" ? 1 : 0;
  table.rule(
      op, [list](Call& call) { each_like(call, list); }, "aten/src/ATen/native/cuda/ForeachFunctors.cuh");
}

}  // namespace

void add_foreach(Table& table) {
  for (const auto& name : c10::Dispatcher::singleton().getAllOpNames())
    if (starts(name.name, "aten::_")) add_family(table, name);
  constexpr auto reduce = "aten/src/ATen/native/cuda/ForeachReduceOp.cu";
  table.rule("_foreach_norm.Scalar _foreach_powsum.Scalar", &norms, reduce);
  table.rule("_foreach_max", &maxima, reduce);
}

}  // namespace athanor::rehearse::phantom
