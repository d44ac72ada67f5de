#include "optim/Progress.h"

namespace athanor::optim {
namespace {

at::ScalarType integer_of(at::ScalarType type) {
  switch (c10::elementSize(type)) {
    case 8:
      return at::kLong;
    case 4:
      return at::kInt;
    case 2:
      return at::kShort;
    default:
      return at::kByte;
  }
}

}  // namespace

Progress<at::Tensor> coming_step(ParamState& state, const at::Device& device) {
  at::Tensor& now = state.device_step;
  const auto count = static_cast<std::int64_t>(1 + state.scalars.size());
  if (!now.defined() || now.numel() != count || now.scalar_type() != at::kDouble) {
    std::vector<double> numbers = {static_cast<double>(state.step)};
    numbers.insert(numbers.end(), state.scalars.begin(), state.scalars.end());
    at::Tensor counted = at::tensor(numbers, at::kDouble).to(device);
    if (now.defined()) counted.narrow(0, 0, 1).copy_(now);  // a fused kernel has counted so far
    now = counted;
  }
  Progress<at::Tensor> coming{now[0] + 1, {}};
  for (std::int64_t i = 1; i < count; ++i) coming.scalars.push_back(now[i]);
  return coming;
}

void keep_progress(ParamState& state, const Progress<at::Tensor>& now, const at::Tensor& found_inf) {
  ++state.step;  // steps tried; the device has those that were made
  std::vector<at::Tensor> numbers = {now.step};
  numbers.insert(numbers.end(), now.scalars.begin(), now.scalars.end());
  const at::Tensor made = at::stack(numbers);
  // Exact where the weight is 0 or 1.
  state.device_step = found_inf.defined() ? at::lerp(made, state.device_step, found_inf.ne(0).to(at::kDouble)) : made;
}

Undo::Undo(const std::vector<at::Tensor>& tensors, const at::Tensor& found_inf) : found_inf_(found_inf) {
  if (!found_inf.defined()) return;
  for (const auto& tensor : tensors) {
    const at::ScalarType type = integer_of(tensor.scalar_type());
    auto same = std::find_if(kinds_.begin(), kinds_.end(), [&](const Same& each) { return each.type == type; });
    if (same == kinds_.end()) same = kinds_.insert(kinds_.end(), {type, {}, {}});
    same->tensors.push_back(tensor.scalar_type() == type ? tensor : tensor.view(type));
    same->copies.push_back(at::empty_like(same->tensors.back()));
  }
  for (auto& same : kinds_) at::_foreach_copy_(same.copies, same.tensors);
}

void Undo::put_back() {
  // Sums of integers of which one is 0: exact, whatever the bits stand for, NaN too.
  for (auto& same : kinds_) {
    const at::Tensor overflow = found_inf_.ne(0).to(same.type);
    at::_foreach_mul_(same.tensors, 1 - overflow);
    at::_foreach_mul_(same.copies, overflow);
    at::_foreach_add_(same.tensors, same.copies);
  }
}

std::vector<at::Tensor> changed_by_step(const at::Tensor& param, const ParamState& state) {
  const auto real = [](const at::Tensor& tensor) { return tensor.is_complex() ? at::view_as_real(tensor) : tensor; };
  std::vector<at::Tensor> tensors = {real(param.detach())};
  for (const auto& slot : state.slots)
    if (slot.defined()) tensors.push_back(real(slot));
  return tensors;
}

}  // namespace athanor::optim
