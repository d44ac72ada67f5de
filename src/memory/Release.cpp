#include "athanor/memory/Release.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>

#include "athanor/optim/Optimizer.h"
#include "memory/OptimizerTensors.h"

namespace athanor::memory {
namespace {

using WeakStorage = c10::weak_intrusive_ptr<c10::StorageImpl>;
using WeakTensor = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

/// A storage that the module or its optimizer had, without keeping it alive.
struct Watched {
  std::string what;
  std::int64_t bytes;
  WeakStorage storage;
  WeakTensor tensor;
  std::optional<WeakTensor> parameter;  // whose gradient it is

  [[nodiscard]] bool kept_by_its_parameter() const {
    const auto owner = parameter ? parameter->lock() : nullptr;
    return owner && at::Tensor(owner).grad().unsafeGetTensorImpl() == tensor.lock().get();
  }
};

/// Every storage once, under the first name it is met by.
class Inventory {
 public:
  void add(const std::string& what, const at::Tensor& tensor, const at::Tensor& parameter = {}) {
    if (!tensor.defined() || !tensor.has_storage()) return;
    if (!seen_.insert(tensor.storage().unsafeGetStorageImpl()).second) return;
    watched_.push_back({what, static_cast<std::int64_t>(tensor.storage().nbytes()),
                        tensor.storage().getWeakStorageImpl(), WeakTensor(tensor.getIntrusivePtr()),
                        parameter.defined() ? std::optional<WeakTensor>(parameter.getIntrusivePtr()) : std::nullopt});
    if (!tensor.is_cpu()) devices_.insert({tensor.device().type(), tensor.device().index()});
  }
  [[nodiscard]] const std::vector<Watched>& watched() const { return watched_; }
  [[nodiscard]] const std::set<std::pair<c10::DeviceType, c10::DeviceIndex>>& devices() const { return devices_; }

 private:
  std::vector<Watched> watched_;
  std::set<const c10::StorageImpl*> seen_;
  std::set<std::pair<c10::DeviceType, c10::DeviceIndex>> devices_;
};

Inventory take_inventory(const torch::nn::Module& module, const torch::optim::Optimizer* optimizer) {
  Inventory inventory;
  for (const auto& parameter : module.parameters()) inventory.add("parameters", parameter);
  for (const auto& buffer : module.buffers()) inventory.add("buffers", buffer);
  for (const auto& parameter : module.parameters()) inventory.add("gradients", parameter.grad(), parameter);
  if (optimizer != nullptr)
    for (const auto& tensor : tensors_of(*optimizer)) inventory.add("optimizer state", tensor);
  return inventory;
}

struct Holders {
  long module_handles;  // shared_ptrs to the module that are left
  const std::vector<Suspect>* suspects;

  [[nodiscard]] std::string of(const Watched& watched) const {
    const auto storage = watched.storage.lock();
    for (const auto& suspect : *suspects)
      for (const auto& tensor : suspect.tensors)
        if (tensor.defined() && tensor.has_storage() && tensor.storage().unsafeGetStorageImpl() == storage.get())
          return suspect.name;
    if (module_handles > 0 && watched.what != "optimizer state")
      return fmt::format("{} more handle{} to the module", module_handles, module_handles == 1 ? "" : "s");
    if (watched.kept_by_its_parameter()) return "the parameters they belong to";
    const auto impl = watched.tensor.lock();
    if (!impl) return "a view or detached copy of the handle that shares its memory";
    const at::Tensor tensor(impl);
    if (tensor.is_leaf() && tensor.requires_grad() && torch::autograd::impl::try_get_grad_accumulator(tensor))
      return "an autograd graph (a loss or output still in scope), or an optimizer that was not named";
    if (watched.what == "parameters") return "a copy of the tensor's handle, or an optimizer that was not named";
    return "a copy of the tensor's handle";
  }
};

std::int64_t reserved(const std::pair<c10::DeviceType, c10::DeviceIndex>& device) {
  const auto stats = c10::getDeviceAllocator(device.first)->getDeviceStats(device.second);
  return stats.reserved_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)].current;
}

Bytes empty_caches(const Inventory& inventory) {
  Bytes returned;
  for (const auto& device : inventory.devices()) {
    if (dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.first)) == nullptr) continue;
    const auto before = reserved(device);
    c10::getDeviceAllocator(device.first)->emptyCache();
    returned += Bytes{before - reserved(device)};
  }
  return returned;
}

/// What suspects hold in memory of their own: a copy of the model that its release cannot free.
void add_copies(std::vector<Rest>& rest, const std::vector<Suspect>& suspects, const Inventory& inventory) {
  std::set<const c10::StorageImpl*> known;
  for (const auto& watched : inventory.watched())
    if (const auto storage = watched.storage.lock()) known.insert(storage.get());
  for (const auto& suspect : suspects) {
    std::int64_t bytes = 0;
    for (const auto& tensor : suspect.tensors)
      if (tensor.defined() && tensor.has_storage() && known.insert(tensor.storage().unsafeGetStorageImpl()).second)
        bytes += static_cast<std::int64_t>(tensor.storage().nbytes());
    if (bytes > 0) rest.push_back({suspect.name, "itself: memory of its own, a copy", Bytes{bytes}});
  }
}

}  // namespace

Suspect suspect(std::string name, const torch::nn::Module& module) {
  Suspect result{std::move(name), module.parameters()};
  for (const auto& buffer : module.buffers()) result.tensors.push_back(buffer);
  for (const auto& parameter : module.parameters()) result.tensors.push_back(parameter.grad());
  return result;
}

Released release(std::shared_ptr<torch::nn::Module> module, ReleaseOptions options) {
  if (!module) throw std::invalid_argument("memory::release: the module is empty: it was released or moved before");
  const auto inventory = take_inventory(*module, options.optimizer);
  if (options.optimizer != nullptr) {
    options.optimizer->state().clear();
    for (auto& group : options.optimizer->param_groups()) group.params().clear();
    if (auto* ours = dynamic_cast<optim::Optimizer*>(options.optimizer)) ours->refresh();
  }
  const std::weak_ptr<torch::nn::Module> handle = module;
  module.reset();

  Released result;
  std::map<std::pair<std::string, std::string>, std::int64_t> left;
  const Holders holders{handle.use_count(), &options.suspects};
  for (const auto& watched : inventory.watched()) {
    result.held += Bytes{watched.bytes};
    if (watched.storage.expired())
      result.freed += Bytes{watched.bytes};
    else
      left[{watched.what, holders.of(watched)}] += watched.bytes;
  }
  for (const auto& [names, bytes] : left) result.rest.push_back({names.first, names.second, Bytes{bytes}});
  std::ranges::stable_sort(result.rest, [](const Rest& a, const Rest& b) { return a.bytes > b.bytes; });
  add_copies(result.rest, options.suspects, inventory);
  if (options.empty_cache) result.returned_to_driver = empty_caches(inventory);
  return result;
}

std::string Released::text() const {
  std::string text = fmt::format("{} of {} came free", freed.text(), held.text());
  if (returned_to_driver.count > 0) text += fmt::format("; {} went back to the driver", returned_to_driver.text());
  for (const auto& each : rest)
    text += fmt::format("\n  {} of {} still held by {}", each.bytes.text(), each.what, each.held_by);
  return text;
}

}  // namespace athanor::memory
