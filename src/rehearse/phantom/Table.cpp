#include "rehearse/phantom/Table.h"

#include <sstream>

#include "rehearse/phantom/Fallback.h"

namespace athanor::rehearse::phantom {
namespace {

class RuleKernel final : public c10::OperatorKernel {
 public:
  explicit RuleKernel(RuleFunction function) : function_(std::move(function)) {}
  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) const {
    Scope scope(signature_of(op).name);
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

void Table::rule(std::string_view ops, RuleFunction function, std::string_view source, Confidence confidence) {
  for (const auto& op : split(ops))
    rows_.push_back({op, Service::rule, confidence, std::string(source),
                     [op, function](torch::Library& library) { library.impl(op.c_str(), kernel_of(function)); }});
}

void Table::in_place(std::string_view ops, std::string_view source) {
  for (const auto& op : split(ops))
    rows_.push_back({op, Service::in_place, Confidence::source, std::string(source), [op](torch::Library& library) {
                       library.impl(op.c_str(), torch::CppFunction::makeFromBoxedFunction<&write_in_place>());
                     }});
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

}  // namespace athanor::rehearse::phantom
