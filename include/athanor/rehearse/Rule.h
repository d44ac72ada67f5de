#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "athanor/rehearse/Ledger.h"

namespace athanor::rehearse {

/// One call of an operator on the phantom GPU, as a rule sees it: the arguments by their place in the schema, and the
/// results to be given. No tensor here has memory that may be read; sizes, strides and dtypes are all there is.
class Call {
 public:
  Call(const c10::OperatorHandle& op, torch::jit::Stack& stack);

  [[nodiscard]] const at::Tensor& tensor(std::size_t argument) const;  ///< Undefined where None was given.
  [[nodiscard]] bool has(std::size_t argument) const;                  ///< Neither None nor an undefined tensor.
  [[nodiscard]] std::vector<at::Tensor> tensors(std::size_t argument) const;
  [[nodiscard]] std::int64_t integer(std::size_t argument) const;
  [[nodiscard]] double number(std::size_t argument) const;
  [[nodiscard]] bool flag(std::size_t argument) const;
  [[nodiscard]] std::string text(std::size_t argument) const;
  [[nodiscard]] std::vector<std::int64_t> integers(std::size_t argument) const;
  [[nodiscard]] std::vector<bool> flags(std::size_t argument) const;
  [[nodiscard]] std::optional<c10::ScalarType> dtype(std::size_t argument) const;
  [[nodiscard]] std::size_t size() const { return count_; }

  /// A fresh tensor on the GPU of the first tensor argument, with memory from the allocator.
  [[nodiscard]] at::Tensor empty(c10::IntArrayRef sizes, c10::ScalarType dtype,
                                 c10::MemoryFormat format = c10::MemoryFormat::Contiguous) const;
  /// Like `tensor`, strides and all; of another dtype if one is given.
  [[nodiscard]] at::Tensor empty_like(const at::Tensor& tensor, std::optional<c10::ScalarType> dtype = {}) const;

  /// Memory the kernel takes inside, until the returned handle goes (or the rule ends, if it is not kept).
  [[nodiscard]] c10::DataPtr scratch(std::int64_t bytes, Confidence confidence = Confidence::source,
                                     std::int64_t low = -1, std::int64_t high = -1) const;

  /// The results, in the schema's order; an undefined tensor is a result that is None. Call it once, at the end.
  void returns(std::vector<c10::IValue> results);
  /// The operator's written arguments are its results.
  void returns_written();
  /// PyTorch's own shape function (its Meta kernel) makes the results; read the arguments before.
  void by_shape_alone();
  /// Puts another value in an argument's place, for `by_shape_alone`.
  void replace(std::size_t argument, c10::IValue value);

  [[nodiscard]] const c10::OperatorHandle& op() const { return op_; }
  [[nodiscard]] const torch::jit::Stack& stack() const { return stack_; }

 private:
  const c10::OperatorHandle& op_;
  torch::jit::Stack& stack_;
  std::size_t count_;
  std::size_t base_;
};

using RuleFunction = std::function<void(Call&)>;

/// What an operator allocates on the GPU, in order: `rule` makes the results and whatever the kernel takes inside.
struct Rule {
  std::string op;  ///< "library::name" or "library::name.overload".
  RuleFunction rule;
  std::string source;  ///< From where it is known: a file of PyTorch's, a paper, a measurement.
  Confidence confidence = Confidence::source;
};

}  // namespace athanor::rehearse
