#include "athanor/nn/Offload.h"

#include <c10/core/GradMode.h>
#include <c10/core/StorageImpl.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <vector>

#include "athanor/core/Error.h"
#include "nn/Transfer.h"

namespace athanor::nn {
namespace {

bool is_parameter(const at::TensorBase& tensor) {
  return tensor.is_leaf() && tensor.requires_grad();
}

/// Which content a saved tensor has: the same for all operators that save the same tensor.
struct Content {
  explicit Content(const at::Tensor& tensor)
      : storage(tensor.storage().getWeakStorageImpl()),
        version(tensor.is_inference() ? 0 : tensor._version()),
        offset(tensor.storage_offset()),
        sizes(tensor.sizes()),
        strides(tensor.strides()),
        dtype(tensor.scalar_type()) {}
  [[nodiscard]] bool holds(const at::Tensor& tensor) const {
    // A weak pointer keeps the address from being given to another storage.
    return storage._unsafe_get_target() == tensor.storage().unsafeGetStorageImpl() &&
           version == (tensor.is_inference() ? 0 : tensor._version()) && offset == tensor.storage_offset() &&
           dtype == tensor.scalar_type() && tensor.sizes().equals(sizes) && tensor.strides().equals(strides);
  }
  c10::weak_intrusive_ptr<c10::StorageImpl> storage;
  std::int64_t version, offset;
  c10::DimVector sizes, strides;
  at::ScalarType dtype;
};

}  // namespace

/// The tensors of one scope in the order they were saved. Shared by the scope and by the graph.
class OffloadScope::Store : public std::enable_shared_from_this<Store> {
 public:
  explicit Store(OffloadOptions options) : options_(options) {}

  Unpack save(const at::Tensor& tensor);
  [[nodiscard]] OffloadTraffic traffic() const {
    const std::lock_guard lock(mutex_);
    return traffic_;
  }

 private:
  struct Entry {
    Entry(const at::Tensor& tensor, std::size_t place)
        : content(tensor),
          device(tensor.device()),
          bytes(static_cast<std::int64_t>(tensor.nbytes())),
          index(place),
          on_device(tensor.detach()) {}
    ~Entry() { ticket.wait(); }  // memory that a copy still uses must not be given to the next kernel
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

    Content content;
    c10::Device device;
    std::int64_t bytes;
    std::size_t index;
    int users = 0;  // operators that saved it
    int given = 0;  // how many of them have had it back
    at::Tensor host;
    at::Tensor on_device;  // until it has left, and again from when it is fetched until all users had it
    bool outgoing = true;
    Transfer::Ticket ticket;
    bool changed = false;  // in place, while a copy may have been reading it

    void check_unchanged() {
      if (outgoing && !on_device.is_inference() && on_device._version() != content.version) changed = true;
    }
  };

  [[nodiscard]] bool wanted(const at::Tensor& tensor) const;
  std::shared_ptr<Entry> find(const at::Tensor& tensor) const;
  std::shared_ptr<Entry> send(const at::Tensor& tensor);
  at::Tensor give_back(Entry& entry);
  void fetch(Entry& entry);
  void fetch_ahead(std::size_t index);
  [[nodiscard]] std::int64_t held_for_sending() const;

  OffloadOptions options_;
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<Entry>> entries_;
  std::deque<std::weak_ptr<Entry>> outgoing_;
  std::vector<std::weak_ptr<Entry>> arriving_;
  Transfer transfer_;
  OffloadTraffic traffic_;
};

bool OffloadScope::Store::wanted(const at::Tensor& tensor) const {
  if (!tensor.defined() || !tensor.has_storage() || tensor.layout() != at::kStrided) return false;
  if (tensor.is_cpu() && !options_.from_host) return false;
  if (tensor.device().type() == at::kMeta || !tensor.is_non_overlapping_and_dense()) return false;
  if (static_cast<std::int64_t>(tensor.nbytes()) < options_.min_size.count) return false;
  return !is_parameter(tensor) && !(tensor.is_view() && is_parameter(tensor._base()));
}

Unpack OffloadScope::Store::save(const at::Tensor& tensor) {
  if (!wanted(tensor)) return [kept = tensor.detach()] { return kept; };
  const std::lock_guard lock(mutex_);
  auto entry = find(tensor);
  if (!entry) entry = send(tensor);
  ++entry->users;
  return [store = shared_from_this(), entry] {
    const std::lock_guard again(store->mutex_);
    return store->give_back(*entry);
  };
}

// Operators that save the same tensor follow each other closely, so the newest entries are looked at alone.
std::shared_ptr<OffloadScope::Store::Entry> OffloadScope::Store::find(const at::Tensor& tensor) const {
  constexpr std::size_t recent = 32;
  for (std::size_t i = entries_.size(), end = i - std::min(i, recent); i > end; --i)
    if (auto entry = entries_[i - 1].lock(); entry && entry->content.holds(tensor)) return entry;
  return nullptr;
}

std::int64_t OffloadScope::Store::held_for_sending() const {
  std::int64_t bytes = 0;
  for (const auto& weak : outgoing_)
    if (const auto entry = weak.lock(); entry && entry->outgoing) bytes += entry->bytes;
  return bytes;
}

std::shared_ptr<OffloadScope::Store::Entry> OffloadScope::Store::send(const at::Tensor& tensor) {
  auto entry = std::make_shared<Entry>(tensor, entries_.size());
  std::tie(entry->host, entry->ticket) = transfer_.to_host(entry->on_device);
  entries_.push_back(entry);
  outgoing_.push_back(entry);
  ++traffic_.sent;
  traffic_.sent_bytes += Bytes{entry->bytes};
  auto held = held_for_sending();
  // The device copy of the oldest goes once the computing stream is behind its transfer.
  while (held > options_.max_in_flight.count && outgoing_.size() > 1) {
    if (const auto oldest = outgoing_.front().lock(); oldest && oldest->outgoing) {
      oldest->check_unchanged();
      oldest->ticket.wait();
      oldest->outgoing = false;
      oldest->on_device.reset();
      held -= oldest->bytes;
    }
    outgoing_.pop_front();
  }
  traffic_.peak_outgoing = std::max(traffic_.peak_outgoing, Bytes{held});
  return entry;
}

void OffloadScope::Store::fetch(Entry& entry) {
  std::tie(entry.on_device, entry.ticket) = transfer_.to_device(entry.host, entry.device);
  ++traffic_.fetched;
}

at::Tensor OffloadScope::Store::give_back(Entry& entry) {
  const c10::AutoGradMode no_gradients(false);
  entry.check_unchanged();
  if (entry.changed)
    throw Error(c10::str("nn::offload: a tensor that backward needs, ", entry.host.toString(), " ", entry.host.sizes(),
                         ", was changed in place right after it was saved; change a copy instead"));
  if (!entry.on_device.defined()) fetch(entry);
  entry.ticket.wait();
  entry.outgoing = false;
  auto tensor = entry.on_device.detach();
  if (++entry.given % entry.users == 0) entry.on_device.reset();
  fetch_ahead(entry.index);
  return tensor;
}

// Backward asks in reverse: the live entries below `index` are next.
void OffloadScope::Store::fetch_ahead(std::size_t index) {
  std::int64_t arriving = 0;
  std::erase_if(arriving_, [&](const std::weak_ptr<Entry>& weak) {
    const auto entry = weak.lock();
    if (!entry || !entry->on_device.defined()) return true;
    arriving += entry->bytes;
    return false;
  });
  for (std::size_t i = index; i > 0; --i) {
    const auto entry = entries_[i - 1].lock();
    if (!entry || entry->on_device.defined() || entry->given >= entry->users) continue;
    if (arriving > 0 && arriving + entry->bytes > options_.max_in_flight.count) break;
    fetch(*entry);
    ++traffic_.fetched_ahead;
    arriving_.push_back(entry);
    arriving += entry->bytes;
    traffic_.peak_arriving = std::max(traffic_.peak_arriving, Bytes{arriving});
  }
}

OffloadScope::OffloadScope(OffloadOptions options)
    : store_(std::make_shared<Store>(options)),
      scope_([store = store_](const at::Tensor& tensor) { return store->save(tensor); }) {}
OffloadScope::~OffloadScope() = default;

OffloadTraffic OffloadScope::traffic() const {
  return store_->traffic();
}

}  // namespace athanor::nn
