#include "athanor/rehearse/Coverage.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "rehearse/Scratch.h"
#include "rehearse/phantom/OutForms.h"
#include "rehearse/phantom/Sparse.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse {
namespace {

// Why an operator has no rule, by how its name begins.
struct Reason {
  std::string_view why;
  std::vector<std::string_view> beginnings;
};

const std::vector<Reason>& reasons() {
  static const std::vector<Reason> all{
      {"quantised tensors, for inference",
       {"quantize_", "dequantize", "_make_per_", "_mixed_dtypes_linear", "_convert_weight_to_", "_weight_int",
        "_flash_attention_forward.quantized", "_scaled_dot_product_flash_attention.quantized"}},
      {"8-bit floating point with scales, grouped", {"_scaled_grouped_mm"}},
      {"2:4 sparsity and its library cuSPARSELt", {"_cslt_", "_sparse_semi_structured", "_to_sparse_semi_structured"}},
      {"compressed sparse layouts (CSR, CSC, BSR, BSC)",
       {"_to_sparse_csr", "_to_sparse_csc", "_to_sparse_bsr", "_to_sparse_bsc", "_validate_compressed", "sspaddmm"}},
      {"nested and jagged tensors", {"_nested_", "_jagged_", "_padded_dense_"}},
      {"AMD's library", {"miopen_"}},
      {"Python's fast path of transformers for inference; C++'s modules do not take it",
       {"_native_multi_head_attention", "_transformer_encoder_layer_fwd", "_transform_bias_rescale_qkv", "_triton_"}},
      {"packed sequences through cuDNN, of Python's varlen attention",
       {"_cudnn_attention_", "_flash_attention_forward_no_dropout_inplace"}},
      {"lengths of labels on the GPU through cuDNN; PyTorch's own kernel is taken", {"_cudnn_ctc_loss.Tensor"}},
      {"products and normalisation of sparse matrices beyond sparse by dense",
       {"_sparse_", "bmm", "hspmm", "index_select"}},
  };
  return all;
}

std::string reason_of(std::string_view op) {
  for (const auto& reason : reasons())
    for (const auto beginning : reason.beginnings)
      if (op.starts_with(beginning)) return std::string(reason.why);
  return "";
}

// What the fallback does with an operator that has no rule.
Covered without_rule(std::string_view op) {
  Covered row{std::string(op), Service::unknown, Confidence::source, ""};
  const auto handle = c10::Dispatcher::singleton().findSchema(phantom::operator_name(op));
  if (!handle) return row;
  using c10::DispatchKey;
  // In the dispatcher's order: what makes a structured operator's results by its shape function comes first.
  const bool structured = handle->hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutogradNonFunctional);
  if (!structured && (handle->hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutograd) ||
                      handle->hasKernelForDispatchKey(DispatchKey::CompositeImplicitAutograd))) {
    row.service = Service::composite;
    return row;
  }
  if (structured || handle->hasKernelForDispatchKey(DispatchKey::Meta)) {
    row.service = Service::shape;
    return row;
  }
  const auto& schema = handle->schema();
  const bool out = std::any_of(schema.arguments().begin(), schema.arguments().end(), [](const auto& argument) {
    return argument.kwarg_only() && argument.alias_info() != nullptr && argument.alias_info()->isWrite();
  });
  const bool written = !schema.returns().empty() &&
                       std::all_of(schema.returns().begin(), schema.returns().end(), [](const auto& result) {
                         return result.alias_info() != nullptr && result.alias_info()->isWrite();
                       });
  if (written && !out) row.service = Service::in_place;
  if (out && phantom::functional_form(*handle)) row.service = Service::out;
  if (row.service == Service::unknown) row.source = reason_of(op);
  return row;
}

std::map<std::string_view, const phantom::Table::Row*> by_name(const phantom::Table& table) {
  std::map<std::string_view, const phantom::Table::Row*> rules;
  for (const auto& row : table.rows()) rules[row.op] = &row;
  return rules;
}

Covered covered(const phantom::Table::Row& row) {
  return {row.op, row.service, row.confidence, row.source};
}

using ByService = std::map<Service, std::vector<const Covered*>>;

ByService grouped(const std::vector<Covered>& rows) {
  ByService groups;
  for (const auto& row : rows) groups[row.service].push_back(&row);
  return groups;
}

std::string listed(const std::vector<const Covered*>& rows) {
  std::string text;
  for (const auto* row : rows) text += fmt::format("`{}` ", row->op);
  return text;
}

std::string unknown_of(const std::vector<const Covered*>& rows) {
  std::map<std::string_view, std::vector<const Covered*>> by_reason;
  for (const auto* row : rows) by_reason[row->source].push_back(row);
  std::string text = "| why | operators |\n|---|---|\n";
  for (const auto& [why, list] : by_reason) text += fmt::format("| {} | {}|\n", why, listed(list));
  return text;
}

std::string_view name(Confidence confidence) {
  static constexpr std::array<std::string_view, 3> names{"measured", "PyTorch's source", "bounds only"};
  return names[static_cast<std::size_t>(confidence)];
}

std::string rules_of(const ByService& by_service) {
  std::string text = "| operator | known from | how well |\n|---|---|---|\n";
  for (const auto service : {Service::rule, Service::shared})
    if (const auto found = by_service.find(service); found != by_service.end())
      for (const auto* row : found->second)
        text += fmt::format("| `{}` | {} | {} |\n", row->op, row->source, name(row->confidence));
  return text;
}

}  // namespace

std::string_view name(Service service) {
  static constexpr std::array<std::string_view, 7> names{"rule",  "shared",    "in_place", "out",
                                                         "shape", "composite", "unknown"};
  return names[static_cast<std::size_t>(service)];
}

std::vector<Covered> coverage() {
  std::vector<Covered> rows;
  const auto rules = by_name(phantom::table());
  for (const auto op : phantom::cuda_operators()) {
    const auto found = rules.find(op);
    rows.push_back(found != rules.end() ? covered(*found->second) : without_rule(op));
  }
  return rows;
}

std::vector<Covered> sparse_coverage() {
  std::vector<Covered> rows;
  const auto rules = by_name(phantom::sparse_table());
  for (const auto& [op, shared] : phantom::sparse_operators()) {
    const auto found = rules.find(op);
    if (found != rules.end())
      rows.push_back(covered(*found->second));
    else if (shared)
      rows.push_back({std::string(op), Service::shared, Confidence::source, ""});
    else
      rows.push_back({std::string(op), Service::unknown, Confidence::source, reason_of(op)});
  }
  return rows;
}

std::string coverage_page(const std::vector<Covered>& rows, const std::vector<Covered>& sparse) {
  auto by_service = grouped(rows);
  auto text = fmt::format(
      "# What the phantom GPU knows\n\nMade by `athanor rehearse --coverage`; do not edit.\n\n"
      "PyTorch's CUDA build has kernels of its own for {} operators. Everything else is a composition of these.\n\n"
      "| served by | operators | meaning |\n|---|---:|---|\n",
      rows.size());
  const std::array<std::string_view, 7> meanings{
      "a rule says what the kernel allocates, in order",
      "PyTorch's own function, the one its CUDA build runs too",
      "writes its arguments, allocates nothing outside",
      "the form without `out=` is served, and writes into the tensors that are given",
      "PyTorch's shape function makes the results; the kernel is taken to allocate nothing inside",
      "PyTorch's own decomposition into other operators",
      "throws, naming the operator and where its rule goes"};
  for (const auto& [service, list] : by_service)
    text += fmt::format("| {} | {} | {} |\n", name(service), list.size(), meanings[static_cast<std::size_t>(service)]);
  text += "\n" + scratch_section();
  text += "\n## Rules\n\n" + rules_of(by_service);
  text += "\n## Not known\n\n" + unknown_of(by_service[Service::unknown]);
  for (const auto service : {Service::in_place, Service::out, Service::shape, Service::composite})
    if (!by_service[service].empty())
      text += fmt::format("\n## {}\n\n{}\n", name(service), listed(by_service[service]));
  auto sparse_by_service = grouped(sparse);
  text += fmt::format(
      "\n## Sparse tensors\n\nPyTorch has kernels for sparse tensors on CUDA for {} operators. {} of them are the "
      "function that serves the CPU too, which is run. The others:\n\n",
      sparse.size(), sparse_by_service[Service::shared].size());
  sparse_by_service.erase(Service::shared);
  return text + rules_of(sparse_by_service) + "\nNot known:\n\n" + unknown_of(sparse_by_service[Service::unknown]);
}

}  // namespace athanor::rehearse
