#include "rehearse/phantom/Table.h"

#include <set>
#include <sstream>

#include "rehearse/phantom/Fallback.h"

namespace athanor::rehearse::phantom {
namespace {

class RuleKernel final : public c10::OperatorKernel {
 public:
  explicit RuleKernel(RuleFunction function) : function_(std::move(function)) {}
  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) const {
    const auto& signature = signature_of(op);
    check_devices(signature, op, *stack);
    Scope scope(signature.name);
    enter(scope, *stack, op.schema().arguments().size());
    Call call(op, *stack);
    function_(call);
  }

 private:
  RuleFunction function_;
};

std::vector<std::string> split(std::string_view names) {
  std::istringstream words{std::string(names)};
  std::vector<std::string> list;
  for (std::string word; words >> word;) list.push_back(word);
  return list;
}

}  // namespace

torch::CppFunction kernel_of(RuleFunction function) {
  return torch::CppFunction::makeFromBoxedFunctor(std::make_unique<RuleKernel>(std::move(function)));
}

void Table::add(std::string_view ops, Service service, const RuleFunction& function, std::string_view source,
                Confidence confidence) {
  for (const auto& op : split(ops))
    rows_.push_back({op, service, confidence, std::string(source),
                     [op, function](torch::Library& library) { library.impl(op.c_str(), kernel_of(function)); }});
}

void Table::rule(std::string_view ops, const RuleFunction& function, std::string_view source, Confidence confidence) {
  add(ops, Service::rule, function, source, confidence);
}

void Table::shape(std::string_view ops, std::string_view source) {
  const auto by_shape = [](Call& call) { call.by_shape_alone(); };
  add(ops, Service::shape, by_shape, source, Confidence::source);
}

void Table::in_place(std::string_view ops, std::string_view source) {
  for (const auto& op : split(ops))
    rows_.push_back({op, Service::in_place, Confidence::source, std::string(source), [op](torch::Library& library) {
                       library.impl(op.c_str(), torch::CppFunction::makeFromBoxedFunction<&write_in_place>());
                     }});
}

std::span<const std::string_view> cuda_operators() {
  static constexpr std::string_view all[] = {
#include "rehearse/phantom/cuda_operators.inc"
  };
  return all;
}

c10::OperatorName operator_name(std::string_view op) {
  const auto dot = op.find('.');
  if (dot == std::string_view::npos) return {"aten::" + std::string(op), ""};
  return {"aten::" + std::string(op.substr(0, dot)), std::string(op.substr(dot + 1))};
}

const Table& table() {
  static const Table all = [] {
    Table rules;
    for (auto* add :
         {&add_factories, &add_host_traffic, &add_matrix_products, &add_convolutions, &add_normalizations,
          &add_attention, &add_embeddings, &add_losses, &add_pointwise, &add_reductions, &add_foreach, &add_recurrent,
          &add_poolings, &add_sampling, &add_indexing, &add_sorting, &add_linear_algebra, &add_fourier, &add_random})
      add(rules);
    return rules;
  }();
  return all;
}

bool has_rule(const c10::OperatorName& op) {
  static const std::set<std::string, std::less<>> ruled = [] {
    std::set<std::string, std::less<>> names;
    for (const auto& row : table().rows()) names.insert(row.op);
    return names;
  }();
  constexpr std::string_view space = "aten::";
  if (!op.name.starts_with(space)) return false;
  const auto name = op.name.substr(space.size());
  return ruled.contains(op.overload_name.empty() ? name : name + "." + op.overload_name);
}

}  // namespace athanor::rehearse::phantom
