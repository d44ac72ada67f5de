#include "athanor/data/Loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>

#include "athanor/core/Random.h"

namespace athanor::data {
namespace {

// Below this a batch is gathered in less time than it takes to wake a thread twice.
constexpr std::size_t kWorthAThread = 64 << 10;

// Only the loader holds this memory: no tensor of the caller's, and no view of one.
bool is_free(const at::Tensor& tensor) {
  return tensor.use_count() == 1 && tensor.storage().use_count() == 1;
}

// The caller's own tensor on the loader's memory: what they do to it (requires_grad, views) stays theirs.
at::Tensor lend(const at::Tensor& buffer, std::int64_t items) {
  return (items == buffer.size(0) ? buffer : buffer.narrow(0, 0, items)).variable_data();
}

}  // namespace

struct Loader::State {
  std::shared_ptr<const Dataset> dataset;
  LoaderOptions options;
  std::vector<std::int64_t> order;
  std::int64_t batches = 0;
  std::int64_t position = 0;
  bool started = false;
  bool requested = false;  // the batch at `position` is being gathered
  std::vector<Batch> buffers;

  // Between the caller and the thread: `wanted` is set by one and cleared by the other.
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Batch> wanted;
  std::int64_t wanted_index = 0;
  std::optional<Batch> ready;
  std::exception_ptr failure;
  bool stop = false;
  std::thread thread;

  ~State() {
    if (!thread.joinable()) return;
    {
      const std::scoped_lock lock(mutex);
      stop = true;
    }
    changed.notify_all();
    thread.join();
  }

  [[nodiscard]] std::int64_t items_of(std::int64_t index) const {
    return std::min(options.batch_size, dataset->size() - index * options.batch_size);
  }

  void fill(std::int64_t index, const Batch& batch) const {
    const auto begin = order.begin() + static_cast<std::ptrdiff_t>(index * options.batch_size);
    dataset->gather({begin, begin + static_cast<std::ptrdiff_t>(batch.items)}, batch);
  }

  Batch memory_for(std::int64_t index) {
    const auto items = items_of(index);
    const auto found = std::ranges::find_if(
        buffers, [](const Batch& buffer) { return is_free(buffer.inputs) && is_free(buffer.targets); });
    if (found != buffers.end()) return {lend(found->inputs, items), lend(found->targets, items), items};
    auto fresh = allocate_batch(*dataset, options.batch_size, options.pinned);
    const Batch lent{lend(fresh.inputs, items), lend(fresh.targets, items), items};
    // A copy to the device may still read page-locked memory after the tensor is gone: that is the allocator's
    // business.
    if (!options.pinned) {
      if (buffers.size() >= 2) buffers.erase(buffers.begin());
      buffers.push_back(std::move(fresh));
    }
    return lent;
  }

  // Has the batch at `position` gathered, unless the epoch is over.
  void request() {
    if (position >= batches) return;
    auto memory = memory_for(position);
    {
      const std::scoped_lock lock(mutex);
      wanted = std::move(memory);
      wanted_index = position;
    }
    requested = true;
    changed.notify_all();
  }

  // Waits for what was requested, and takes it.
  std::optional<Batch> collect() {
    requested = false;
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return !wanted; });
    if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
    return std::exchange(ready, std::nullopt);
  }

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return stop || wanted; });
      if (stop) return;
      Batch batch = *wanted;
      const auto index = wanted_index;
      lock.unlock();
      std::exception_ptr thrown;
      try {
        fill(index, batch);
      } catch (...) {
        thrown = std::current_exception();
      }
      lock.lock();
      failure = thrown;
      if (!thrown) ready = std::move(batch);
      batch = {};
      wanted.reset();
      changed.notify_all();
    }
  }
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options) : state_(std::make_unique<State>()) {
  if (options.batch_size < 1 || options.batch_size > dataset->size())
    throw std::invalid_argument("Loader: batch_size must be 1 to " + std::to_string(dataset->size()) +
                                " (the samples there are), got " + std::to_string(options.batch_size));
  auto& state = *state_;
  state.dataset = std::move(dataset);
  state.options = options;
  state.batches = state.dataset->size() / options.batch_size;
  if (!options.drop_last && state.dataset->size() % options.batch_size != 0) ++state.batches;
  if (!options.prefetch) return;
  const auto probe = allocate_batch(*state.dataset, 1);
  const auto sample = probe.inputs.nbytes() + probe.targets.nbytes();
  if (sample * static_cast<std::size_t>(options.batch_size) >= kWorthAThread)
    state.thread = std::thread([&state] { state.run(); });
}

Loader::~Loader() = default;
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;

void Loader::start_epoch(std::int64_t epoch, std::int64_t first_batch) {
  auto& state = *state_;
  if (epoch < 0 || first_batch < 0 || first_batch > state.batches)
    throw std::invalid_argument("Loader: epoch " + std::to_string(epoch) + ", batch " + std::to_string(first_batch) +
                                ": an epoch has " + std::to_string(state.batches) + " batches");
  if (state.requested) {
    try {
      static_cast<void>(state.collect());  // what the abandoned epoch had asked for
    } catch (...) {                        // and nobody will see
    }
  }
  const auto n = state.dataset->size();
  if (state.options.shuffle) {
    state.order = core::permutation(n, state.options.seed, static_cast<std::uint64_t>(epoch));
  } else if (state.order.empty()) {
    state.order.resize(static_cast<std::size_t>(n));
    std::iota(state.order.begin(), state.order.end(), std::int64_t{0});
  }
  state.started = true;
  state.position = first_batch;
  if (state.thread.joinable()) state.request();
}

std::optional<Batch> Loader::next() {
  auto& state = *state_;
  if (!state.started || state.position >= state.batches) return std::nullopt;
  if (!state.thread.joinable()) {
    auto batch = state.memory_for(state.position);
    state.fill(state.position, batch);
    ++state.position;
    return batch;
  }
  if (!state.requested) state.request();  // the last attempt threw: asking again tries again
  auto batch = state.collect();
  ++state.position;
  state.request();
  return batch;
}

std::int64_t Loader::batches() const {
  return state_->batches;
}
std::int64_t Loader::position() const {
  return state_->position;
}
const Dataset& Loader::dataset() const {
  return *state_->dataset;
}

}  // namespace athanor::data
