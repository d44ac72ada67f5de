// Lends the phantom GPU to Python: reads operator calls, one JSON document a line, and answers with what came out.
//   {"op": "aten::add.Tensor", "args": [{"tensor": [[2, 3], [3, 1], "float32"]}, …]}
//   {"results": [[[2, 3], [3, 1], "float32", 24], …]}  or  {"error": "…"}
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/torch.h>

#include <iostream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "athanor/rehearse/Rehearse.h"

namespace {

using nlohmann::json;

const std::map<std::string, c10::ScalarType> dtypes{{"float32", at::kFloat},
                                                    {"float64", at::kDouble},
                                                    {"float16", at::kHalf},
                                                    {"bfloat16", at::kBFloat16},
                                                    {"int64", at::kLong},
                                                    {"int32", at::kInt},
                                                    {"int16", at::kShort},
                                                    {"int8", at::kChar},
                                                    {"uint8", at::kByte},
                                                    {"bool", at::kBool},
                                                    {"complex64", at::kComplexFloat},
                                                    {"complex128", at::kComplexDouble},
                                                    {"uint64", at::kUInt64},
                                                    {"uint32", at::kUInt32},
                                                    {"uint16", at::kUInt16},
                                                    {"complex32", at::kComplexHalf},
                                                    {"float8_e4m3fn", at::kFloat8_e4m3fn},
                                                    {"float8_e5m2", at::kFloat8_e5m2}};

std::string name_of(c10::ScalarType dtype) {
  for (const auto& [name, value] : dtypes)
    if (value == dtype) return name;
  return "?";
}

at::Tensor tensor_of(const json& form) {
  const auto device = form.size() > 3 ? form[3].get<std::string>() : "cuda";
  return at::empty_strided(form[0].get<std::vector<std::int64_t>>(), form[1].get<std::vector<std::int64_t>>(),
                           at::TensorOptions().dtype(dtypes.at(form[2].get<std::string>())).device(device));
}

double number_of(const json& value) {
  if (!value.is_string()) return value.get<double>();
  const auto text = value.get<std::string>();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  return (text == "-inf" ? -1 : 1) * std::numeric_limits<double>::infinity();
}

c10::Scalar scalar_of(const json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.contains("complex"))
    return c10::complex<double>(number_of(value["complex"][0]), number_of(value["complex"][1]));
  return number_of(value["float"]);
}

c10::IValue value_of(const json& value, const c10::TypePtr& type);

template <class Element>
c10::IValue list_of(const json& values, const c10::TypePtr& element) {
  c10::List<Element> list;
  for (const auto& value : values) list.push_back(value_of(value, element).to<Element>());
  return list;
}

c10::IValue list_value(const json& values, const c10::TypePtr& element) {
  switch (element->kind()) {
    case c10::TypeKind::TensorType:
      return list_of<at::Tensor>(values, element);
    case c10::TypeKind::OptionalType:
      return list_of<std::optional<at::Tensor>>(values, element);
    case c10::TypeKind::FloatType:
      return list_of<double>(values, element);
    case c10::TypeKind::BoolType:
      return list_of<bool>(values, element);
    case c10::TypeKind::NumberType:
      return list_of<at::Scalar>(values, element);
    default:
      return list_of<std::int64_t>(values, element);
  }
}

c10::IValue value_of(const json& value, const c10::TypePtr& type) {
  if (value.is_null()) return {};
  if (type->kind() == c10::TypeKind::OptionalType)
    return value_of(value, type->castRaw<c10::OptionalType>()->getElementType());
  if (value.is_array()) return list_value(value, type->castRaw<c10::ListType>()->getElementType());
  // A single value where a list of fixed length is asked for stands for all of it.
  if (type->kind() == c10::TypeKind::ListType)
    return list_value(json::array({value}), type->castRaw<c10::ListType>()->getElementType());
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object()) {
    if (value.contains("tensor")) return tensor_of(value["tensor"]);
    if (value.contains("dtype")) return static_cast<std::int64_t>(dtypes.at(value["dtype"].get<std::string>()));
    if (value.contains("device")) return c10::Device(value["device"].get<std::string>());
    if (value.contains("enum")) return value["enum"].get<std::int64_t>();
  }
  if (type->kind() == c10::TypeKind::TensorType) {  // a number that stands for a tensor
    auto tensor = at::scalar_tensor(scalar_of(value));
    tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
    return tensor;
  }
  if (type->kind() == c10::TypeKind::FloatType && value.is_number()) return value.get<double>();
  return scalar_of(value);
}

void append(json& results, const c10::IValue& value) {
  if (value.isTensor()) {
    const auto& tensor = value.toTensor();
    if (!tensor.defined()) return results.push_back(nullptr);
    return results.push_back(
        {tensor.sizes(), tensor.strides(), name_of(tensor.scalar_type()), tensor.storage().nbytes(), tensor.is_cuda()});
  }
  if (value.isNone()) return results.push_back(nullptr);
  if (!value.isTensorList()) return results.push_back("value");
  for (const auto& tensor : value.toTensorVector()) append(results, tensor);
}

json run(const json& call) {
  const auto full = call["op"].get<std::string>();
  const auto dot = full.rfind('.');
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(
      full.substr(0, dot).c_str(), dot == std::string::npos ? "" : full.substr(dot + 1).c_str());
  torch::jit::Stack stack;
  const auto& arguments = op.schema().arguments();
  for (std::size_t i = 0; i < arguments.size(); ++i)
    stack.push_back(value_of(call["args"][i], arguments[i].real_type()));
  op.callBoxed(&stack);
  json results = json::array();
  for (const auto& value : stack) append(results, value);
  return results;
}

}  // namespace

int main() {
  const auto forecast = athanor::rehearse::rehearse({.gpu = "A100 80GB"}, [](torch::Device, auto&) {
    const torch::NoGradGuard no_gradients;
    for (std::string line; std::getline(std::cin, line);) {
      json answer;
      try {
        answer["results"] = run(json::parse(line));
      } catch (const std::exception& error) {
        answer["error"] = std::string(error.what()).substr(0, 400);
      }
      std::cout << answer.dump(-1, ' ', false, json::error_handler_t::replace) << '\n';
    }
  });
  return 0;
}
