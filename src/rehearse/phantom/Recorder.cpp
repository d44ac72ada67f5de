#include "rehearse/phantom/Recorder.h"

#include <ATen/SequenceNumber.h>
#include <ATen/core/grad_mode.h>
#include <ATen/native/SparseTensorUtils.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/csrc/autograd/node.h>

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "rehearse/phantom/CallSite.h"
#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Memory.h"

namespace athanor::rehearse::phantom {
namespace {

thread_local Scope* current_scope = nullptr;

bool autograd_runs_here() {
  return torch::autograd::get_current_graph_task_id() >= 0;
}

// Leaked on purpose: scopes may name operators until the process ends.
struct OperatorNames {
  std::mutex mutex;
  std::vector<std::string> names{""};
  std::unordered_map<std::string, std::uint16_t> indices{{"", 0}};

  static OperatorNames& all() {
    static auto* names = new OperatorNames;
    return *names;
  }
};

}  // namespace

std::uint16_t operator_index(const std::string& name) {
  auto& all = OperatorNames::all();
  const std::lock_guard lock(all.mutex);
  const auto [entry, added] = all.indices.try_emplace(name, static_cast<std::uint16_t>(all.names.size()));
  if (added) all.names.push_back(name);
  return entry->second;
}

std::vector<std::string> operator_names() {
  auto& all = OperatorNames::all();
  const std::lock_guard lock(all.mutex);
  return all.names;
}

Scope::Scope(std::uint16_t name) : operator_name(name), outer(current_scope) {
  if (outer != nullptr) {
    operator_name = outer->operator_name;
    module = outer->module;
  }
  current_scope = this;
}
Scope::~Scope() {
  current_scope = outer;
  if (came_from_ >= 0) Guard::move_to(came_from_);
}
void Scope::move_to(c10::DeviceIndex device) {
  const auto here = Guard::place().device;
  if (device == here) return;
  came_from_ = here;
  Guard::move_to(device);
}
Scope* Scope::current() {
  return current_scope;
}

Recorder::Recorder(int devices, const allocator::DeviceOptions& options) {
  interned_[""] = 0;
  for (int i = 0; i < devices; ++i) models_.emplace_back(options);
}

Recorder::Allocation Recorder::allocate(std::int64_t bytes, Place place) {
  const std::lock_guard lock(mutex_);
  return allocate_locked(bytes, place);
}

Recorder::Allocation Recorder::allocate(const Scratch& scratch, Place place) {
  const std::lock_guard lock(mutex_);
  const auto allocation = allocate_locked(scratch.bytes, place);
  auto& block = ledger_.blocks[allocation.block];
  block.confidence = scratch.confidence;
  block.low = scratch.low < 0 ? scratch.bytes : scratch.low;
  block.high = scratch.high < 0 ? scratch.bytes : scratch.high;
  mark_block(allocation.block, Category::workspace, block.module);
  return allocation;
}

void Recorder::keep_workspace(const Scratch& scratch, Place place) {
  static_cast<void>(allocate(scratch, place));
}

bool Recorder::first_product(std::thread::id thread, Place place, bool with_bias) {
  const std::lock_guard lock(mutex_);
  return cublas_handles_.emplace(thread, place.device, place.stream, with_bias).second;
}

Recorder::Allocation Recorder::allocate_locked(std::int64_t bytes, Place place) {
  observe_phase();
  if (static_cast<std::size_t>(place.device) >= models_.size())
    throw std::invalid_argument(
        fmt::format("rehearse: cuda:{} was asked for, and the rehearsal has {} GPU{}: see "
                    "rehearse::Options::devices",
                    place.device, models_.size(), models_.size() == 1 ? "" : "s"));
  auto& model = models_[static_cast<std::size_t>(place.device)];
  const auto address = model.allocate(bytes, place.stream);
  TORCH_CHECK_WITH(OutOfMemoryError, address.has_value(), "phantom GPU: out of memory allocating ", bytes, " bytes; ",
                   model.allocated(), " are allocated and ", model.reserved(), " reserved");
  Block block;
  block.address = *address;
  block.requested = block.low = block.high = bytes;
  const auto held = model.block(*address);
  block.size = held ? held->size : bytes;
  block.step = step_;
  block.phase = phase();
  block.device = static_cast<std::uint16_t>(place.device);
  block.stream = static_cast<std::uint16_t>(place.stream);
  if (current_scope != nullptr) block.operator_name = current_scope->operator_name;
  block.module = module_now();
  block.born = static_cast<std::uint32_t>(ledger_.events.size());
  const auto index = static_cast<std::uint32_t>(ledger_.blocks.size());
  ledger_.blocks.push_back(block);
  marked_.push_back(false);
  record(index, false);
  return {index, *address};
}

void Recorder::release(std::uint32_t index) noexcept {
  const std::lock_guard lock(mutex_);
  observe_phase();
  auto& block = ledger_.blocks[index];
  models_[block.device].free(block.address);
  block.died = static_cast<std::uint32_t>(ledger_.events.size());
  record(index, true);
}

void Recorder::record(std::uint32_t index, bool free) {
  const auto& model = models_[ledger_.blocks[index].device];
  ledger_.events.push_back({index, free, phase(), step_, model.allocated(), model.reserved()});
}

void Recorder::record_stream(std::uint32_t block, std::uint64_t stream) {
  const std::lock_guard lock(mutex_);
  models_[ledger_.blocks[block].device].record_stream(ledger_.blocks[block].address, stream);
}

void Recorder::synchronize(std::uint64_t stream) {
  const std::lock_guard lock(mutex_);
  for (auto& model : models_) model.synchronize(stream);
}

void Recorder::empty_cache() {
  const std::lock_guard lock(mutex_);
  for (auto& model : models_) model.empty_cache();
}

std::uint64_t Recorder::begin_pool(c10::DeviceIndex device) {
  const std::lock_guard lock(mutex_);
  models_.at(static_cast<std::size_t>(device)).begin_pool({0, ++pools_});
  return pools_;
}

void Recorder::end_pool(c10::DeviceIndex device, std::uint64_t pool) {
  const std::lock_guard lock(mutex_);
  models_.at(static_cast<std::size_t>(device)).end_pool({0, pool});
}

void Recorder::pin(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto size = std::bit_ceil(bytes);
  auto& kept = pinned_free_[size];
  if (kept > 0)
    --kept;
  else
    ledger_.pinned_peak += static_cast<std::int64_t>(size);
}

void Recorder::unpin(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  ++pinned_free_[std::bit_ceil(bytes)];
}

void Recorder::mark_flag(const at::Tensor& tensor) {
  const std::lock_guard lock(mutex_);
  flags_.insert(block_of(tensor, this));
}

bool Recorder::is_flag(const at::Tensor& tensor) {
  const std::lock_guard lock(mutex_);
  const auto block = block_of(tensor, this);
  return block >= 0 && flags_.contains(block);
}

void Recorder::note_read(const char* op, bool floating, double assumed) {
  auto stack = stack_now();
  const std::lock_guard lock(mutex_);
  observe_phase();
  const auto [entry, first] = reads_.try_emplace(stack, ledger_.reads.size());
  if (first) ledger_.reads.push_back({op, ledger_.modules[module_now()], "", assumed, floating, phase(), step_, 0});
  ++ledger_.reads[entry->second].times;
}

void Recorder::assume(const std::string& what) {
  const std::lock_guard lock(mutex_);
  auto& all = ledger_.assumptions;
  if (std::find(all.begin(), all.end(), what) == all.end()) all.push_back(what);
}

void Recorder::watch(const std::string& path, const at::Tensor& tensor, bool is_parameter) {
  const std::lock_guard lock(mutex_);
  const auto dot = path.rfind('.');
  watched_.push_back({intern(dot == std::string::npos ? "" : path.substr(0, dot)),
                      c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>(tensor.getIntrusivePtr()),
                      is_parameter});
}

void Recorder::mark(const at::Tensor& tensor, Category category) {
  const std::lock_guard lock(mutex_);
  if (const auto block = block_of(tensor, this); block >= 0)
    mark_block(block, category, ledger_.blocks[static_cast<std::size_t>(block)].module);
}

void Recorder::mark_input(const at::Tensor& tensor) {
  const std::lock_guard lock(mutex_);
  if (phase() == Phase::setup) return;
  if (const auto block = block_of(tensor, this); block >= 0)
    mark_block(block, Category::inputs, ledger_.blocks[static_cast<std::size_t>(block)].module);
}

void Recorder::adopt(const at::Tensor& tensor) {
  const std::lock_guard lock(mutex_);
  const auto index = block_of(tensor, this);
  if (index < 0 || current_scope == nullptr) return;
  static const auto bare = operator_index("aten::empty.memory_format");
  static const auto bare_strided = operator_index("aten::empty_strided");
  auto& block = ledger_.blocks[static_cast<std::size_t>(index)];
  if (block.operator_name == bare || block.operator_name == bare_strided)
    block.operator_name = current_scope->operator_name;
}

void Recorder::mark_block(std::int64_t block, Category category, std::uint16_t module) {
  const auto index = static_cast<std::size_t>(block);
  ledger_.blocks[index].category = category;
  ledger_.blocks[index].module = module;
  marked_[index] = true;
}

// Finds what the watched tensors hold now: `.to(device)` swaps storages, backward makes gradients.
void Recorder::look() {
  module_of_storage_.clear();
  for (const auto& watched : watched_) {
    const auto impl = watched.tensor.lock();
    if (!impl) continue;
    const at::Tensor tensor(impl);
    if (!tensor.has_storage()) continue;
    if (const auto block = block_of(tensor, this); block >= 0) {
      mark_block(block, Category::parameters, watched.path);
      module_of_storage_[tensor.storage().unsafeGetStorageImpl()] = watched.path;
    }
    if (!watched.is_parameter) continue;
    if (const auto& gradient = tensor.grad(); gradient.defined()) mark_gradient(gradient, watched.path);
  }
}

// A sparse gradient is its values; its indices may be the batch's own.
void Recorder::mark_gradient(const at::Tensor& gradient, std::uint16_t module) {
  const bool sparse = gradient.layout() == c10::kSparse;
  const auto& values = sparse ? at::sparse::get_sparse_impl(gradient)->values() : gradient;
  if (const auto block = block_of(values, this); block >= 0) mark_block(block, Category::gradients, module);
  if (!sparse) return;
  const auto block = block_of(at::sparse::get_sparse_impl(gradient)->indices(), this);
  if (block >= 0 && !marked_[static_cast<std::size_t>(block)]) mark_block(block, Category::gradients, module);
}

void Recorder::begin_step(std::int32_t step) {
  const std::lock_guard lock(mutex_);
  look();
  step_ = step;
  in_backward_ = after_backward_ = false;
  module_by_sequence_.clear();
}

void Recorder::push_phase(Phase phase) {
  const std::lock_guard lock(mutex_);
  look();
  stated_.push_back(phase);
}

void Recorder::pop_phase() {
  const std::lock_guard lock(mutex_);
  if (!stated_.empty()) stated_.pop_back();
}

void Recorder::observe_phase() {
  const bool backward = autograd_runs_here();
  if (in_backward_ && !backward) {
    after_backward_ = true;
    look();
  }
  in_backward_ = backward;
  observe_hook();
}

// Autograd stores a parameter's gradient and then calls the parameter's hooks, both as part of one node: what is
// allocated there once the gradient is stored, the hooks allocate.
void Recorder::observe_hook() {
  in_hook_ = false;
  if (!in_backward_) return;
  const auto node = torch::autograd::get_current_node();
  const auto* sink = dynamic_cast<const torch::autograd::AccumulateGrad*>(node.get());
  if (sink == nullptr || !sink->variable.defined()) return;
  const auto& gradient = sink->variable.grad();
  if (!gradient.defined() || torch::autograd::impl::post_acc_grad_hooks(sink->variable) == nullptr) return;
  in_hook_ = true;
  if (const auto block = block_of(gradient, this); block >= 0 && !marked_[static_cast<std::size_t>(block)]) {
    const auto found = module_of_storage_.find(sink->variable.storage().unsafeGetStorageImpl());
    mark_block(block, Category::gradients, found == module_of_storage_.end() ? std::uint16_t{0} : found->second);
  }
}

Phase Recorder::phase() const {
  if (!stated_.empty()) return stated_.back();
  if (step_ == 0) return Phase::setup;
  if (in_backward_) return in_hook_ ? Phase::optimizer : Phase::backward;
  return after_backward_ && !at::GradMode::is_enabled() ? Phase::optimizer : Phase::forward;
}

std::uint16_t Recorder::module_now() const {
  if (current_scope != nullptr && current_scope->module != 0) return current_scope->module;
  if (!in_backward_) return module_;
  const auto node = torch::autograd::get_current_node();
  if (!node) return 0;
  const auto after = std::upper_bound(module_by_sequence_.begin(), module_by_sequence_.end(), node->sequence_nr(),
                                      [](std::uint64_t number, const auto& entry) { return number < entry.first; });
  return after == module_by_sequence_.begin() ? std::uint16_t{0} : std::prev(after)->second;
}

std::uint16_t Recorder::module_of(const c10::StorageImpl* storage) {
  const std::lock_guard lock(mutex_);
  const auto found = module_of_storage_.find(storage);
  return found == module_of_storage_.end() ? std::uint16_t{0} : found->second;
}

void Recorder::follow(Scope& scope) {
  if (!at::GradMode::is_enabled() || autograd_runs_here()) return;
  const std::lock_guard lock(mutex_);
  const auto module = scope.module != 0 ? scope.module : module_;
  if (scope.module != 0) module_ = parent_of(scope.module);
  if (!module_by_sequence_.empty() && module_by_sequence_.back().second == module) return;
  const auto next = at::sequence_number::peek();
  module_by_sequence_.emplace_back(next == 0 ? 0 : next - 1, module);
}

std::uint16_t Recorder::parent_of(std::uint16_t module) {
  const auto found = parents_.find(module);
  if (found != parents_.end()) return found->second;
  const std::string path = ledger_.modules[module];
  const auto dot = path.rfind('.');
  return parents_[module] = intern(dot == std::string::npos ? "" : path.substr(0, dot));
}

std::uint16_t Recorder::intern(const std::string& name) {
  const auto [entry, added] = interned_.try_emplace(name, static_cast<std::uint16_t>(ledger_.modules.size()));
  if (added) ledger_.modules.push_back(name);
  return entry->second;
}

Ledger Recorder::finish() {
  const std::lock_guard lock(mutex_);
  look();
  Ledger ledger = ledger_;
  ledger.operators = operator_names();
  for (const auto& [stack, read] : reads_) ledger.reads[read].where = call_site(stack);
  ledger.categorise(marked_);
  return ledger;
}

}  // namespace athanor::rehearse::phantom
