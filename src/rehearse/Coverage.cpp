#include "athanor/rehearse/Coverage.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "rehearse/Scratch.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse {
namespace {

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
  return row;
}

std::string_view name(Confidence confidence) {
  static constexpr std::array<std::string_view, 3> names{"measured", "PyTorch's source", "bounds only"};
  return names[static_cast<std::size_t>(confidence)];
}

}  // namespace

std::string_view name(Service service) {
  static constexpr std::array<std::string_view, 6> names{"rule", "shared", "in_place", "shape", "composite", "unknown"};
  return names[static_cast<std::size_t>(service)];
}

std::vector<Covered> coverage() {
  std::map<std::string_view, const phantom::Table::Row*> rules;
  for (const auto& row : phantom::table().rows()) rules[row.op] = &row;
  std::vector<Covered> rows;
  for (const auto op : phantom::cuda_operators()) {
    if (const auto found = rules.find(op); found != rules.end())
      rows.push_back({std::string(op), found->second->service, found->second->confidence, found->second->source});
    else
      rows.push_back(without_rule(op));
  }
  return rows;
}

std::string coverage_page(const std::vector<Covered>& rows) {
  std::map<Service, std::vector<const Covered*>> by_service;
  for (const auto& row : rows) by_service[row.service].push_back(&row);
  auto text = fmt::format(
      "# What the phantom GPU knows\n\nMade by `athanor rehearse --coverage`; do not edit.\n\n"
      "PyTorch's CUDA build has kernels of its own for {} operators. Everything else is a composition of these.\n\n"
      "| served by | operators | meaning |\n|---|---:|---|\n",
      rows.size());
  const std::array<std::string_view, 6> meanings{
      "a rule says what the kernel allocates, in order",
      "PyTorch's own function, the one its CUDA build runs too",
      "writes its arguments, allocates nothing outside",
      "PyTorch's shape function makes the results; the kernel is taken to allocate nothing inside",
      "PyTorch's own decomposition into other operators",
      "throws, naming the operator and where its rule goes"};
  for (const auto& [service, list] : by_service)
    text += fmt::format("| {} | {} | {} |\n", name(service), list.size(), meanings[static_cast<std::size_t>(service)]);
  text += "\n" + scratch_section();
  text += "\n## Rules\n\n| operator | known from | how well |\n|---|---|---|\n";
  for (const auto service : {Service::rule, Service::shared})
    for (const auto* row : by_service[service])
      text += fmt::format("| `{}` | {} | {} |\n", row->op, row->source, name(row->confidence));
  for (const auto service : {Service::unknown, Service::in_place, Service::shape, Service::composite}) {
    text += fmt::format("\n## {}\n\n", service == Service::unknown ? "Not known" : name(service));
    for (const auto* row : by_service[service]) text += fmt::format("`{}` ", row->op);
    text += "\n";
  }
  return text;
}

}  // namespace athanor::rehearse
