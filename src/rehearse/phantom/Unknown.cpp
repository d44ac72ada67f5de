#include "rehearse/phantom/Unknown.h"

#include <fmt/format.h>

#include <sstream>

#include "athanor/core/Error.h"
#include "rehearse/phantom/CallSite.h"

namespace athanor::rehearse::phantom {
namespace {

// " (train.cpp:42 in main)", or nothing.
std::string place() {
  const auto where = call_site(stack_now());
  return where.empty() ? "" : fmt::format(" ({})", where);
}

}  // namespace

void throw_unknown_operator(const c10::OperatorHandle& op, std::string_view when) {
  std::ostringstream schema;
  schema << op.schema();
  const std::string name =
      op.schema().name() + (op.schema().overload_name().empty() ? "" : "." + op.schema().overload_name());
  throw Error(
      fmt::format("rehearse: no rule says what {}{}{}{} allocates on a GPU, so no forecast can be made. Give it one in "
                  "rehearse::Options::rules (op = \"{}\"; ten lines, see examples/07_custom_operator.cpp), or in "
                  "src/rehearse/phantom/rules. Its schema: {}",
                  name, place(), when.empty() ? "" : " ", when, name, schema.str()));
}

void throw_other_device(std::string_view op, const at::Tensor& there, const at::Tensor& other) {
  throw std::invalid_argument(fmt::format(
      "rehearse: {}{} was given a tensor on {} and one on {}, which fails on a GPU too: bring them together "
      "with .to(device)",
      op, place(), there.device().str(), other.device().str()));
}

void throw_data_dependent(std::string_view op, std::string_view mend) {
  throw std::invalid_argument(
      fmt::format("rehearse: {}{} depends on values in GPU memory, and a rehearsal has none. {}", op, place(), mend));
}

}  // namespace athanor::rehearse::phantom
