#include "rehearse/phantom/OutForms.h"

#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

using c10::DispatchKey;
using torch::jit::Stack;

bool is_out(const c10::Argument& argument) {
  return argument.kwarg_only() && argument.alias_info() != nullptr && argument.alias_info()->isWrite();
}

std::vector<const c10::Argument*> without_outs(const c10::FunctionSchema& schema) {
  std::vector<const c10::Argument*> rest;
  for (const auto& argument : schema.arguments())
    if (!is_out(argument)) rest.push_back(&argument);
  return rest;
}

bool same_arguments(const c10::FunctionSchema& out, const c10::FunctionSchema& other) {
  const auto rest = without_outs(out);
  return rest.size() == other.arguments().size() && out.returns().size() == other.returns().size() &&
         std::equal(rest.begin(), rest.end(), other.arguments().begin(), [](const auto* a, const auto& b) {
           return a->name() == b.name() && *a->type() == *b.type() && !is_out(b);
         });
}

// A composition may end in the out= form itself.
bool stands_alone(const c10::OperatorHandle& op) {
  if (has_rule(op.operator_name())) return true;
  return op.hasKernelForDispatchKey(DispatchKey::Meta) ||
         op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutogradNonFunctional);
}

// Every operator's overloads, by the operator's name.
const std::unordered_map<std::string, std::vector<c10::OperatorName>>& overloads() {
  static const auto all = [] {
    std::unordered_map<std::string, std::vector<c10::OperatorName>> names;
    for (auto& name : c10::Dispatcher::singleton().getAllOpNames()) names[name.name].push_back(name);
    return names;
  }();
  return all;
}

// "adaptive_avg_pool2d" is a composition; what its CUDA kernel is called begins with "_".
std::vector<std::string> names_of(const std::string& name) {
  const auto colons = name.find("::") + 2;
  return {name, name.substr(0, colons) + "_" + name.substr(colons)};
}

Stack run(const c10::OperatorHandle& functional, const Stack& inputs) {
  Stack stack = inputs;
  const c10::impl::ExcludeDispatchKeyGuard no_autograd(c10::autograd_dispatch_keyset |
                                                       c10::DispatchKeySet(DispatchKey::ADInplaceOrView));
  functional.callBoxed(&stack);
  return stack;
}

}  // namespace

std::optional<c10::OperatorHandle> functional_form(const c10::OperatorHandle& op) {
  const auto& schema = op.schema();
  if (std::none_of(schema.arguments().begin(), schema.arguments().end(), &is_out)) return {};
  for (const auto& name : names_of(schema.name())) {
    const auto found = overloads().find(name);
    if (found == overloads().end()) continue;
    for (const auto& overload : found->second) {
      const auto other = c10::Dispatcher::singleton().findSchema(overload);
      if (other && same_arguments(schema, other->schema()) && stands_alone(*other)) return other;
    }
  }
  return {};
}

void write_out(const c10::OperatorHandle& op, const c10::OperatorHandle& functional, Stack* stack) {
  const auto& arguments = op.schema().arguments();
  Stack inputs;
  std::vector<at::Tensor> outs;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    auto& value = (*stack)[stack->size() - arguments.size() + i];
    if (is_out(arguments[i]))
      outs.push_back(value.toTensor());
    else
      inputs.push_back(value);
  }
  const auto shapes = [&] {
    const Trial trial;
    return run(functional, inputs);
  }();
  std::vector<std::size_t> results;  // which of the allocations are the results
  for (std::size_t i = 0; i < outs.size(); ++i) {
    const auto& shape = shapes[i].toTensor();
    if (const auto number = Trial::number_of(shape.storage().data_ptr())) results.push_back(*number);
    if (outs[i].sizes() != shape.sizes()) follow_shape(outs[i], shape);
  }
  {
    const Trial trial(results);
    static_cast<void>(run(functional, inputs));
  }
  torch::jit::drop(*stack, arguments.size());
  for (auto& out : outs) stack->emplace_back(std::move(out));
}

}  // namespace athanor::rehearse::phantom
