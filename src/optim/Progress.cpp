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
  const auto number = [&](double value) { return at::full({}, value, at::TensorOptions(at::kDouble).device(device)); };
  if (!state.device_step.defined()) state.device_step = number(static_cast<double>(state.step));
  if (state.device_scalars.size() != state.scalars.size()) {
    state.device_scalars.clear();
    for (const double scalar : state.scalars) state.device_scalars.push_back(number(scalar));
  }
  return {state.device_step + 1, state.device_scalars};
}

void keep_progress(ParamState& state, const Progress<at::Tensor>& now, const at::Tensor& found_inf) {
  ++state.step;  // steps tried; the device has those that were made
  if (!found_inf.defined()) {
    state.device_step = now.step;
    state.device_scalars = now.scalars;
    return;
  }
  const at::Tensor overflow = found_inf.ne(0);
  state.device_step = at::where(overflow, state.device_step, now.step);
  for (std::size_t i = 0; i < now.scalars.size(); ++i)
    state.device_scalars[i] = at::where(overflow, state.device_scalars[i], now.scalars[i]);
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
