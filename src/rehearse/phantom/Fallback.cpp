#include "rehearse/phantom/Fallback.h"

#include <ATen/core/List.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>

#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/OutForms.h"
#include "rehearse/phantom/Tensors.h"
#include "rehearse/phantom/Unknown.h"

namespace athanor::rehearse::phantom {
namespace {

using c10::DispatchKey;
using c10::IValue;
using torch::jit::Stack;

thread_local std::unordered_map<const void*, Signature> signatures;

bool meta_knows(const c10::OperatorHandle& op) {
  return op.hasKernelForDispatchKey(DispatchKey::Meta) ||
         op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutograd) ||
         op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutogradNonFunctional) ||
         op.hasKernelForDispatchKey(DispatchKey::CompositeImplicitAutograd);
}

bool same_alias(const c10::AliasInfo& a, const c10::AliasInfo& b) {
  return !a.beforeSets().empty() && !b.beforeSets().empty() && *a.beforeSets().begin() == *b.beforeSets().begin();
}

// Indices, lengths and generators' states may lie on the host; lists check themselves; an operator of the user's may do
// as it likes.
bool wants_one_device(std::string_view name) {
  static constexpr std::array<std::string_view, 14> others{"index",
                                                           "_index_put",
                                                           "copy_",
                                                           "_use_",
                                                           "_ctc_loss",
                                                           "_cudnn_",
                                                           "set_",
                                                           "is_set",
                                                           "_foreach_",
                                                           "_fused_",
                                                           "_amp_",
                                                           "_efficient_attention",
                                                           "_flash_attention",
                                                           "_scaled_dot_product"};
  constexpr std::string_view space = "aten::";
  if (!name.starts_with(space)) return false;
  name.remove_prefix(space.size());
  return std::none_of(others.begin(), others.end(), [&](auto beginning) { return name.starts_with(beginning); });
}

Signature read_signature(const c10::OperatorHandle& op) {
  Signature signature;
  const auto& schema = op.schema();
  const auto& arguments = schema.arguments();
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto* alias = arguments[i].alias_info();
    if (alias == nullptr || !alias->isWrite()) continue;
    signature.written_arguments.push_back(static_cast<int>(i));
    signature.resizes_outputs |= arguments[i].kwarg_only();
  }
  for (const auto& result : schema.returns()) {
    int written = -1;
    int viewed = -1;
    for (std::size_t i = 0; i < arguments.size() && result.alias_info() != nullptr; ++i)
      if (const auto* alias = arguments[i].alias_info(); alias != nullptr && same_alias(*alias, *result.alias_info()))
        (alias->isWrite() ? written : viewed) = static_cast<int>(i);
    signature.written.push_back(written);
    signature.viewed.push_back(viewed);
    signature.all_written &= written >= 0;
  }
  signature.has_meta = meta_knows(op);
  if (!signature.has_meta) signature.functional = functional_form(op);
  signature.one_device = wants_one_device(schema.name());
  std::string name = schema.name();
  if (!schema.overload_name().empty()) name += "." + schema.overload_name();
  signature.name = operator_index(name);
  const auto colons = name.find("::");
  signature.op = colons == std::string::npos ? name : name.substr(colons + 2);
  return signature;
}

IValue on_meta(const IValue& value) {
  if (value.isTensor()) return to_meta(value.toTensor());
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const auto& tensor : value.toTensorVector()) list.push_back(to_meta(tensor));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor> tensor : value.toOptionalTensorList())
      list.push_back(tensor ? std::optional(to_meta(*tensor)) : std::nullopt);
    return list;
  }
  if (value.isDevice() && value.toDevice().is_cuda()) return c10::Device(c10::kMeta);
  if (value.isGenerator()) return {};
  return value;
}

IValue view_like(const at::Tensor& base, const at::Tensor& meta) {
  return view_of(base, meta.sizes(), meta.strides(), meta.storage_offset(), meta.dtype());
}

IValue result_of(const IValue& meta, const IValue* base) {
  if (meta.isTensor()) {
    if (!meta.toTensor().defined()) return meta;
    return base != nullptr ? view_like(base->toTensor(), meta.toTensor()) : IValue(from_meta(meta.toTensor()));
  }
  if (!meta.isTensorList()) return meta;
  c10::List<at::Tensor> list;
  for (const auto& tensor : meta.toTensorVector())
    list.push_back(base != nullptr ? view_like(base->toTensor(), tensor).toTensor() : from_meta(tensor));
  return list;
}

void follow_shapes(const IValue& original, const IValue& meta) {
  if (original.isTensor()) {
    if (is_phantom(original.toTensor())) follow_shape(original.toTensor(), meta.toTensor());
  } else if (original.isTensorList()) {
    const auto originals = original.toTensorVector();
    const auto metas = meta.toTensorVector();
    for (std::size_t i = 0; i < originals.size(); ++i)
      if (is_phantom(originals[i])) follow_shape(originals[i], metas[i]);
  }
}

Stack run_on_meta(const c10::OperatorHandle& op, const Signature& signature, const Stack& originals) {
  Stack metas;
  metas.reserve(originals.size());
  for (const auto& value : originals) metas.push_back(on_meta(value));
  Stack written;
  for (const int i : signature.written_arguments) written.push_back(metas[static_cast<std::size_t>(i)]);
  {
    const c10::impl::ExcludeDispatchKeyGuard no_autograd(
        c10::autograd_dispatch_keyset |
        c10::DispatchKeySet({DispatchKey::ADInplaceOrView, DispatchKey::Python, DispatchKey::PythonTLSSnapshot}));
    op.callBoxed(&metas);
  }
  for (std::size_t i = 0; i < written.size(); ++i)
    follow_shapes(originals[static_cast<std::size_t>(signature.written_arguments[i])], written[i]);
  return metas;
}

}  // namespace

const Signature& signature_of(const c10::OperatorHandle& op) {
  const auto* key = &op.schema();
  const auto found = signatures.find(key);
  return found != signatures.end() ? found->second : signatures.emplace(key, read_signature(op)).first->second;
}

void check_devices(const Signature& signature, const c10::OperatorHandle& op, const Stack& stack) {
  if (!signature.one_device) return;
  const at::Tensor* host = nullptr;
  const at::Tensor* here = nullptr;
  for (std::size_t i = stack.size() - op.schema().arguments().size(); i < stack.size(); ++i) {
    if (!stack[i].isTensor() || !stack[i].toTensor().defined()) continue;
    const auto& tensor = stack[i].toTensor();
    if (is_phantom(tensor)) here = here == nullptr ? &tensor : here;
    if (tensor.is_cpu() && tensor.dim() > 0) host = &tensor;
    if (here != nullptr && is_phantom(tensor) && tensor.device() != here->device()) host = &tensor;
  }
  if (here != nullptr && host != nullptr) throw_other_device(op.schema().name(), *here, *host);
}

void enter(Scope& scope, const Stack& stack, std::size_t arguments) {
  if (scope.outer != nullptr) return;
  const auto& recorder = Memory::instance().recorder();
  bool first = true;
  for (std::size_t i = stack.size() - arguments; i < stack.size() && scope.module == 0; ++i) {
    if (!stack[i].isTensor()) continue;
    const auto& tensor = stack[i].toTensor();
    if (!is_phantom(tensor)) continue;
    if (first) scope.move_to(tensor.device().index());
    first = false;
    if (tensor.has_storage()) scope.module = recorder->module_of(tensor.storage().unsafeGetStorageImpl());
  }
  recorder->follow(scope);
}

void write_in_place(const c10::OperatorHandle& op, Stack* stack) {
  const auto& signature = signature_of(op);
  const auto count = op.schema().arguments().size();
  const auto base = stack->size() - count;
  Stack results;
  for (const int written : signature.written) results.push_back((*stack)[base + static_cast<std::size_t>(written)]);
  torch::jit::drop(*stack, count);
  for (auto& result : results) stack->push_back(std::move(result));
}

void fallback(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  const auto& signature = signature_of(op);
  const auto count = op.schema().arguments().size();
  check_devices(signature, op, *stack);
  Scope scope(signature.name);
  enter(scope, *stack, count);
  // What fills a bare `empty` is what it was made for.
  for (const int i : signature.written_arguments)
    if (const auto& value = (*stack)[stack->size() - count + static_cast<std::size_t>(i)]; value.isTensor())
      Memory::instance().recorder()->adopt(value.toTensor());
  if (!signature.has_meta) {
    if (signature.functional) return write_out(op, *signature.functional, stack);
    // Truly in-place: nothing to infer.
    if (!signature.all_written || signature.resizes_outputs || signature.written_arguments.empty())
      throw_unknown_operator(op);
    write_in_place(op, stack);
    return;
  }
  by_shape(op, stack);
}

void by_shape(const c10::OperatorHandle& op, Stack* stack) {
  const auto& signature = signature_of(op);
  const auto count = op.schema().arguments().size();
  const Stack originals(stack->end() - static_cast<std::ptrdiff_t>(count), stack->end());
  const Stack metas = run_on_meta(op, signature, originals);
  torch::jit::drop(*stack, count);
  for (std::size_t i = 0; i < signature.written.size(); ++i) {
    if (signature.written[i] >= 0)
      stack->push_back(originals[static_cast<std::size_t>(signature.written[i])]);
    else
      stack->push_back(result_of(
          metas[i], signature.viewed[i] >= 0 ? &originals[static_cast<std::size_t>(signature.viewed[i])] : nullptr));
  }
}

}  // namespace athanor::rehearse::phantom
