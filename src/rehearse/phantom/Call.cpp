#include <ATen/ops/empty_like.h>
#include <fmt/format.h>

#include "athanor/rehearse/Rule.h"
#include "rehearse/phantom/Fallback.h"
#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Tensors.h"

namespace athanor::rehearse {

Call::Call(const c10::OperatorHandle& op, torch::jit::Stack& stack)
    : op_(op), stack_(stack), count_(op.schema().arguments().size()), base_(stack.size() - count_) {}

const at::Tensor& Call::tensor(std::size_t argument) const {
  static const at::Tensor none;
  const auto& value = stack_[base_ + argument];
  return value.isTensor() ? value.toTensor() : none;
}

bool Call::has(std::size_t argument) const {
  const auto& value = stack_[base_ + argument];
  return !value.isNone() && (!value.isTensor() || value.toTensor().defined());
}

std::vector<at::Tensor> Call::tensors(std::size_t argument) const {
  const auto& value = stack_[base_ + argument];
  if (value.isTensorList()) return value.toTensorVector();
  std::vector<at::Tensor> tensors;
  for (const std::optional<at::Tensor> tensor : value.toOptionalTensorList())
    tensors.push_back(tensor.value_or(at::Tensor()));
  return tensors;
}

std::int64_t Call::integer(std::size_t argument) const {
  const auto& value = stack_[base_ + argument];
  return value.isInt() ? value.toInt() : value.toScalar().toLong();
}
double Call::number(std::size_t argument) const {
  return stack_[base_ + argument].toScalar().toDouble();
}
bool Call::flag(std::size_t argument) const {
  return stack_[base_ + argument].toBool();
}
std::string Call::text(std::size_t argument) const {
  return stack_[base_ + argument].toStringRef();
}

std::vector<std::int64_t> Call::integers(std::size_t argument) const {
  const auto& value = stack_[base_ + argument];
  if (value.isIntList()) return value.toIntVector();
  if (value.isInt()) return {value.toInt()};
  std::vector<std::int64_t> integers;
  if (value.isSymIntList())
    for (const auto& symbol : value.toSymIntVector()) integers.push_back(symbol.guard_int(__FILE__, __LINE__));
  return integers;
}

std::vector<bool> Call::flags(std::size_t argument) const {
  std::vector<bool> flags;
  for (const bool flag : stack_[base_ + argument].toBoolList()) flags.push_back(flag);
  return flags;
}

std::optional<c10::ScalarType> Call::dtype(std::size_t argument) const {
  const auto& value = stack_[base_ + argument];
  return value.isNone() ? std::nullopt : std::optional(value.toScalarType());
}

at::Tensor Call::empty(c10::IntArrayRef sizes, c10::ScalarType dtype, c10::MemoryFormat format) const {
  return phantom::make(sizes, dtype, format);
}

at::Tensor Call::empty_like(const at::Tensor& tensor, std::optional<c10::ScalarType> dtype) const {
  return at::empty_like(tensor, tensor.options().dtype(dtype.value_or(tensor.scalar_type())));
}

c10::DataPtr Call::scratch(std::int64_t bytes, Confidence confidence, std::int64_t low, std::int64_t high) const {
  return phantom::Memory::instance().allocate({bytes, confidence, low, high}, phantom::Guard::place());
}

void Call::returns(std::vector<c10::IValue> results) {
  const auto expected = op_.schema().returns().size();
  TORCH_CHECK(results.size() == expected, "rule of ", op_.schema().name(), " gave ", results.size(), " results; its ",
              "schema has ", expected);
  torch::jit::drop(stack_, count_);
  for (auto& result : results) stack_.push_back(std::move(result));
}

void Call::returns_written() {
  phantom::write_in_place(op_, &stack_);
}

void Call::by_shape_alone() {
  phantom::by_shape(op_, &stack_);
}
void Call::replace(std::size_t argument, c10::IValue value) {
  stack_[base_ + argument] = std::move(value);
}

}  // namespace athanor::rehearse
