#include "rehearse/phantom/Install.h"

#include <ATen/Context.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <map>
#include <ranges>
#include <set>
#include <stdexcept>

#include "athanor/core/Error.h"
#include "athanor/nn/HookedEngine.h"
#include "rehearse/phantom/Fallback.h"
#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Hooks.h"
#include "rehearse/phantom/Memory.h"
#include "rehearse/phantom/Recurrent.h"
#include "rehearse/phantom/Sparse.h"
#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

State* state = nullptr;  // the dispatcher is one for the process, and so is what its kernels ask

// Autograd starts its threads for the devices it finds at its first backward, perhaps before anyone rehearses. So a
// rehearsal has an engine of its own; it lives until the process ends, as PyTorch's does.
class Engine final : public nn::HookedEngine {
 public:
  static torch::autograd::Engine& current() {
    static auto* engines = new std::map<int, Engine*>;
    auto*& engine = (*engines)[traits().devices];
    if (engine == nullptr) engine = new Engine;
    return *engine;
  }
};

void set_guard(const c10::impl::DeviceGuardImplInterface* guard) {
  c10::impl::device_guard_impl_registry[static_cast<std::size_t>(c10::kCUDA)].store(guard);
}

std::unique_ptr<torch::Library> library(std::string name, c10::DispatchKey key) {
  return std::make_unique<torch::Library>(torch::Library::IMPL, std::move(name), key, __FILE__, __LINE__);
}

// A table's rules, and a fallback for the rest. A LibTorch that was loaded with its CUDA library has kernels that would
// win over the fallback: it is put over each of them; and over compositions, where those are not what CUDA runs.
template <c10::BoxedKernel::BoxedKernelFunction_withDispatchKeys* rest, class Operators>
void serve(std::vector<std::unique_ptr<torch::Library>>& libraries, c10::DispatchKey key, const Table& table,
           const Operators& operators, bool over_compositions) {
  auto rules = library("aten", key);
  std::set<std::string_view> ruled;
  for (const auto& row : table.rows()) {
    row.install(*rules);
    ruled.insert(row.op);
  }
  for (const std::string_view op : operators) {
    if (ruled.contains(op)) continue;
    const auto handle = c10::Dispatcher::singleton().findSchema(operator_name(op));
    if (handle && (over_compositions || handle->hasKernelForDispatchKey(key)))
      rules->impl(std::string(op).c_str(), torch::CppFunction::makeFromBoxedFunction<rest>());
  }
  libraries.push_back(std::move(rules));
  libraries.push_back(library("_", key));
  libraries.back()->fallback(torch::CppFunction::makeFromBoxedFunction<rest>());
}

}  // namespace

// Kernels stay registered while any rehearsal holds them; installing them takes milliseconds.
struct Installation::Kernels {
  std::vector<std::unique_ptr<torch::Library>> libraries;

  Kernels() {
    install_stubs(true);
    serve<&fallback>(libraries, c10::DispatchKey::CUDA, table(), cuda_operators(), false);
    serve<&sparse_fallback>(libraries, c10::DispatchKey::SparseCUDA, sparse_table(),
                            sparse_operators() | std::views::transform(&SparseOperator::op), true);
    libraries.push_back(library("aten", c10::DispatchKey::AutocastCUDA));
    libraries.back()->impl("_cudnn_rnn", torch::CppFunction::makeFromBoxedFunction<&cast_recurrent>());
  }
  ~Kernels() {
    libraries.clear();
    install_stubs(false);
  }
};

namespace {

// Before anything is installed: a rule for what does not exist would never be asked.
void check(const Rule& rule) {
  const auto colon = rule.op.find("::");
  if (colon == std::string::npos)
    throw std::invalid_argument(fmt::format("rehearse: rule for '{}': write library::operator", rule.op));
  const auto dot = rule.op.find('.', colon);
  const c10::OperatorName name{rule.op.substr(0, dot), dot == std::string::npos ? "" : rule.op.substr(dot + 1)};
  if (!c10::Dispatcher::singleton().findSchema(name))
    throw std::invalid_argument(fmt::format(
        "rehearse: rule for '{}': there is no such operator; register it before the rehearsal, and name its overload",
        rule.op));
  if (!rule.rule) throw std::invalid_argument(fmt::format("rehearse: rule for '{}': it has no function", rule.op));
}

}  // namespace

Installation::Installation(State wanted) {
  if (state != nullptr)
    throw std::logic_error("rehearse: a rehearsal is running in this process; LibTorch has room for one at a time");
  if (at::globalContext().hasCUDA())
    throw Error("rehearse: this process uses a real CUDA device; rehearse in a process of its own");
  for (const auto& rule : wanted.rules) check(rule);
  state = new State(std::move(wanted));
  install_hooks();
  set_guard(new Guard(state->traits.devices));  // leaked: guards may be asked until the process ends
  c10::SetAllocator(c10::kCUDA, &Memory::instance());
  Memory::instance().attach(state->recorder);
  torch::autograd::set_default_engine_stub(&Engine::current);
  kernels_ = std::make_shared<Kernels>();
  for (const auto& rule : state->rules) {
    const auto colon = rule.op.find("::");
    user_rules_.push_back(library(rule.op.substr(0, colon), c10::DispatchKey::CUDA));
    user_rules_.back()->impl(rule.op.substr(colon + 2).c_str(), kernel_of(rule.rule));
  }
}

Installation::~Installation() {
  user_rules_.clear();
  kernels_.reset();
  torch::autograd::set_default_engine_stub(&nn::HookedEngine::instance);
  set_guard(nullptr);
  remove_hooks();
  delete state;
  state = nullptr;
}

bool installed() {
  return state != nullptr;
}
const Traits& traits() {
  return state->traits;
}
const Assumptions& assumptions() {
  return state->assumptions;
}
Cudnn* cudnn() {
  return state->cudnn.get();
}

}  // namespace athanor::rehearse::phantom
