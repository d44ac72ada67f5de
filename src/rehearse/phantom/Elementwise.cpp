#include "rehearse/phantom/Elementwise.h"

#include <ATen/ExpandUtils.h>
#include <ATen/TensorIterator.h>
#include <ATen/native/Resize.h>
#include <ATen/native/TypeProperties.h>

#include "rehearse/phantom/Fallback.h"
#include "rehearse/phantom/Tensors.h"

namespace athanor::rehearse::phantom {

at::Tensor elementwise(const std::vector<at::Tensor>& inputs, c10::ScalarType dtype) {
  at::TensorIteratorConfig config;
  config.set_check_mem_overlap(false).check_all_same_dtype(false).declare_static_dtype(dtype);
  config.add_owned_output(at::Tensor());
  for (const auto& input : inputs) config.add_owned_const_input(input);
  return config.build().output();
}

std::vector<at::Tensor> inputs_of(const Call& call) {
  const auto& written = signature_of(call.op()).written_arguments;
  std::vector<at::Tensor> inputs;
  for (std::size_t i = 0; i < call.size(); ++i)
    if (call.tensor(i).defined() && std::find(written.begin(), written.end(), static_cast<int>(i)) == written.end())
      inputs.push_back(call.tensor(i));
  return inputs;
}

void elementwise_rule(Call& call) {
  const auto inputs = inputs_of(call);
  at::native::ResultTypeState types;
  for (const auto& input : inputs) types = at::native::update_result_type_state(input, types);
  call.returns({elementwise(inputs, at::native::result_type(types))});
}

void elementwise_bool_rule(Call& call) {
  call.returns({elementwise(inputs_of(call), at::kBool)});
}

void elementwise_out_rule(Call& call) {
  std::vector<std::int64_t> sizes;
  bool first = true;
  for (const auto& input : inputs_of(call)) {
    sizes = first ? input.sizes().vec() : at::infer_size(sizes, input.sizes());
    first = false;
  }
  for (const int i : signature_of(call.op()).written_arguments)
    at::native::resize_output(call.tensor(static_cast<std::size_t>(i)), sizes);
  call.returns_written();
}

}  // namespace athanor::rehearse::phantom
