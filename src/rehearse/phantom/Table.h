#pragma once
#include <torch/library.h>

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/rehearse/Coverage.h"
#include "athanor/rehearse/Rule.h"
#include "rehearse/phantom/Recorder.h"
#include "rehearse/phantom/Tensors.h"

namespace athanor::rehearse::phantom {

/// A kernel of the operator library with its name on whatever it allocates. `function` is a native function of LibTorch
/// or a typed rule.
template <auto function>
struct Named;
template <class Result, class... Arguments, Result (*function)(Arguments...)>
struct Named<function> {
  static inline std::uint16_t name = 0;
  static Result call(Arguments... arguments) {
    const Scope scope(name);
    return function(std::forward<Arguments>(arguments)...);
  }
};

/// The one table: for each operator with its own CUDA kernel which rule serves it and from where that is known.
/// Rules are added by family (rules/*.cpp), then registered with the dispatcher in one go.
class Table {
 public:
  struct Row {
    std::string op;
    Service service;
    Confidence confidence;
    std::string source;
    std::function<void(torch::Library&)> install;
  };

  /// `ops`: one name or several, separated by blanks, without "aten::".
  void rule(std::string_view ops, const RuleFunction& function, std::string_view source,
            Confidence confidence = Confidence::source);
  void in_place(std::string_view ops, std::string_view source);
  /// Likewise, with something more to note than that.
  void in_place(std::string_view ops, std::string_view source, const RuleFunction& function) {
    add(ops, Service::in_place, function, source, Confidence::source);
  }
  /// PyTorch's shape function makes the results, though it also has a composition that would win over the fallback.
  void shape(std::string_view ops, std::string_view source);
  /// A rule in C++ types, for operators that run thousands of times a step.
  template <auto function>
  void typed(std::string_view op, std::string_view source, Service service = Service::rule) {
    Named<function>::name = operator_index("aten::" + std::string(op));
    rows_.push_back(
        {std::string(op), service, Confidence::source, std::string(source),
         [name = std::string(op)](torch::Library& library) { library.impl(name.c_str(), &Named<function>::call); }});
  }
  template <auto function>
  void shared(std::string_view op) {
    typed<function>(op, "the function PyTorch's CUDA build runs too", Service::shared);
  }

  [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }

 private:
  void add(std::string_view ops, Service service, const RuleFunction& function, std::string_view source,
           Confidence confidence);
  std::vector<Row> rows_;
};

/// A boxed kernel that runs a rule: what `Table::rule` and users' rules are installed as.
torch::CppFunction kernel_of(RuleFunction function);

/// Every rule we have.
const Table& table();

[[nodiscard]] bool has_rule(const c10::OperatorName& op);

/// The operators that PyTorch's CUDA build has kernels of its own for, without "aten::".
std::span<const std::string_view> cuda_operators();
/// "add.Tensor" as the dispatcher names it.
c10::OperatorName operator_name(std::string_view op);

// The families.
void add_factories(Table& table);
void add_host_traffic(Table& table);
void add_matrix_products(Table& table);
void add_convolutions(Table& table);
void add_normalizations(Table& table);
void add_attention(Table& table);
void add_embeddings(Table& table);
void add_losses(Table& table);
void add_pointwise(Table& table);
void add_reductions(Table& table);
void add_foreach(Table& table);
void add_recurrent(Table& table);
void add_poolings(Table& table);
void add_sampling(Table& table);
void add_indexing(Table& table);
void add_sorting(Table& table);
void add_linear_algebra(Table& table);
void add_fourier(Table& table);
void add_random(Table& table);

}  // namespace athanor::rehearse::phantom
