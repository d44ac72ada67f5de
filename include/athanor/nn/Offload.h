#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "athanor/core/Bytes.h"
#include "athanor/nn/SavedTensors.h"

namespace athanor::nn {

struct OffloadOptions {
  Bytes min_size{std::int64_t{1} << 20};  ///< Smaller tensors stay: a transfer has a fixed cost.
  /// Bound on what is on its way in each direction, and so on the GPU memory that is not given back yet (forward) or
  /// taken early (backward). At least one tensor always travels.
  Bytes max_in_flight{std::int64_t{256} << 20};
  bool from_host = false;  ///< Also copy tensors that already are in host memory: saves nothing, exercises the order.
};

/// What travelled.
struct OffloadTraffic {
  std::int64_t sent = 0;           ///< Tensors; one that several operators saved counts once.
  Bytes sent_bytes;                ///< To the host.
  std::int64_t fetched = 0;        ///< Tensors that were fetched back; the last ones sent need no way back.
  std::int64_t fetched_ahead = 0;  ///< Of these, before backward asked for them.
  Bytes peak_outgoing;             ///< Most bytes that were held for their transfer to the host.
  Bytes peak_arriving;             ///< Most bytes that had been fetched and not been used yet.
};

/// While one is alive, what autograd saves for backward goes to pinned host memory and comes back in reverse order
/// ahead of its use. Parameters, views of them, small tensors and overlapping ones stay. On a GPU the copies run on a
/// stream of their own; nothing waits on the host. What is given back is bit-equal, so gradients are. The scope covers
/// forward; backward may run after it. Works inside and around `checkpoint`: around it, the inputs of checkpointed
/// blocks travel.
class OffloadScope {
 public:
  explicit OffloadScope(OffloadOptions options = {});
  ~OffloadScope();
  OffloadScope(const OffloadScope&) = delete;
  OffloadScope& operator=(const OffloadScope&) = delete;

  /// So far; also counts backward.
  [[nodiscard]] OffloadTraffic traffic() const;

 private:
  class Store;
  std::shared_ptr<Store> store_;
  SavedTensorScope scope_;
};

/// fn(inputs…) with its saved activations offloaded.
template <class Function, class... Inputs>
auto offload(const OffloadOptions& options, Function&& fn, Inputs&&... inputs) {
  const OffloadScope scope(options);
  return std::forward<Function>(fn)(std::forward<Inputs>(inputs)...);
}

}  // namespace athanor::nn
