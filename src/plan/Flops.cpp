#include "plan/Flops.h"

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <map>

namespace athanor::plan {
namespace {

using Inputs = c10::ArrayRef<c10::IValue>;

double extent_of(const at::Tensor& tensor, std::int64_t dimension) {
  return static_cast<double>(tensor.size(dimension));
}

double elements(const at::Tensor& tensor) {
  return static_cast<double>(tensor.numel());
}

// a [m, k] · b [k, n], batched or not.
double product(const at::Tensor& a, const at::Tensor& b) {
  return 2 * elements(a) * extent_of(b, -1);
}

template <std::size_t a, std::size_t b>
double product_of(Inputs inputs) {
  return product(inputs[a].toTensor(), inputs[b].toTensor());
}

// Each of the output's places takes a product with one filter of weight [out, in / groups, kernel…].
double convolution(double output_elements, const at::Tensor& weight) {
  return 2 * output_elements * elements(weight) / extent_of(weight, 0);
}

double convolution_forward(Inputs inputs) {
  const auto& input = inputs[0].toTensor();
  const auto& weight = inputs[1].toTensor();
  const bool transposed = inputs.size() > 6 && inputs[6].isBool() && inputs[6].toBool();
  if (transposed) return convolution(elements(input), weight);
  double places = extent_of(input, 0);
  const auto stride = inputs[3].toIntVector(), padding = inputs[4].toIntVector(), dilation = inputs[5].toIntVector();
  for (std::int64_t d = 2; d < input.dim(); ++d) {
    const auto at = [d](const std::vector<std::int64_t>& values) {
      return values.size() == 1 ? values[0] : values[static_cast<std::size_t>(d - 2)];
    };
    const auto extent = at(dilation) * (weight.size(d) - 1) + 1;
    places *= static_cast<double>((input.size(d) + 2 * at(padding) - extent) / at(stride) + 1);
  }
  return convolution(places * extent_of(weight, 0), weight);
}

// convolution_backward(grad_output, input, weight, bias_sizes, stride, …, groups, output_mask)
double convolution_backward(Inputs inputs) {
  const auto mask = inputs[inputs.size() - 1].toBoolList();
  const double products = (mask.size() > 0 && mask[0] ? 1 : 0) + (mask.size() > 1 && mask[1] ? 1 : 0);
  return products * convolution(elements(inputs[0].toTensor()), inputs[2].toTensor());
}

// query [B, H, S, D], key [B, H, T, D] at `query` and after it; `causal` is where the schema has is_causal.
template <std::size_t query, std::size_t causal, int products>
double attention(Inputs inputs) {
  const auto& q = inputs[query].toTensor();
  const auto& k = inputs[query + 1].toTensor();
  return products * 2 * elements(q) * extent_of(k, -2) * (inputs[causal].toBool() ? 0.5 : 1);
}

const std::map<std::string_view, std::function<double(Inputs)>>& formulas() {
  static const std::map<std::string_view, std::function<double(Inputs)>> all{
      {"aten::mm", product_of<0, 1>},
      {"aten::bmm", product_of<0, 1>},
      {"aten::addmm", product_of<1, 2>},
      {"aten::addmm_", product_of<1, 2>},
      {"aten::baddbmm", product_of<1, 2>},
      {"aten::baddbmm_", product_of<1, 2>},
      {"aten::_addmm_activation", product_of<1, 2>},
      {"aten::convolution_overrideable", convolution_forward},
      {"aten::cudnn_convolution",
       [](Inputs inputs) {
         // (input, weight, padding, stride, dilation, groups, …): another order.
         const std::array<c10::IValue, 6> ordered{inputs[0], inputs[1], {}, inputs[3], inputs[2], inputs[4]};
         return convolution_forward(ordered);
       }},
      {"aten::convolution", convolution_forward},
      {"aten::_convolution", convolution_forward},
      {"aten::convolution_backward", convolution_backward},
      {"aten::_scaled_dot_product_flash_attention", attention<0, 4, 2>},
      {"aten::_scaled_dot_product_efficient_attention", attention<0, 6, 2>},
      {"aten::_scaled_dot_product_cudnn_attention", attention<0, 6, 2>},
      {"aten::_scaled_dot_product_flash_attention_for_cpu", attention<0, 4, 2>},
      {"aten::_scaled_dot_product_flash_attention_backward", attention<1, 11, 5>},
      {"aten::_scaled_dot_product_efficient_attention_backward", attention<1, 11, 5>},
      {"aten::_scaled_dot_product_cudnn_attention_backward", attention<1, 14, 5>},
      {"aten::_scaled_dot_product_flash_attention_for_cpu_backward", attention<1, 7, 5>},
  };
  return all;
}

}  // namespace

bool has_flops(std::string_view op) {
  return formulas().contains(op);
}

std::optional<double> flops(std::string_view op, Inputs inputs) {
  const auto found = formulas().find(op);
  if (found == formulas().end()) return std::nullopt;
  return found->second(inputs);
}

}  // namespace athanor::plan
