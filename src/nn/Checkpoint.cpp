#include "athanor/nn/Checkpoint.h"

#include <ATen/ops/clone.h>
#include <fmt/format.h>

#include <mutex>

#include "athanor/core/Error.h"
#include "nn/Surroundings.h"

namespace athanor::nn::detail {
namespace {

// Ends a recomputation at its last saved tensor. Not a std::exception, so that no handler in between takes it for one.
struct EnoughRecomputed {};

struct Shape {
  explicit Shape(const at::Tensor& tensor)
      : sizes(tensor.sizes()), dtype(tensor.scalar_type()), device(tensor.device()) {}
  bool operator==(const Shape&) const = default;
  [[nodiscard]] std::string text() const {
    return c10::str(c10::toString(dtype), " ", at::IntArrayRef(sizes), " on ", device);
  }
  c10::DimVector sizes;
  at::ScalarType dtype;
  at::Device device;
};

/// Puts tensors back at the end of a scope without a trace in their version counters: autograd may have saved them.
class RestoreScope {
 public:
  explicit RestoreScope(const std::vector<at::Tensor>& tensors) {
    for (const auto& tensor : tensors) kept_.emplace_back(tensor.variable_data(), tensor.detach().clone());
  }
  ~RestoreScope() {
    const c10::AutoGradMode no_gradients(false);
    for (const auto& [tensor, value] : kept_) tensor.copy_(value);
  }
  RestoreScope(const RestoreScope&) = delete;
  RestoreScope& operator=(const RestoreScope&) = delete;

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;
};

}  // namespace

struct CheckpointFrame::Slot {
  explicit Slot(const at::Tensor& tensor) : shape(tensor) {}
  Shape shape;
  at::Tensor value;  // undefined until recomputed, and again once backward has taken it
};

struct CheckpointFrame::State {
  State(CheckpointOptions checkpoint_options, const std::vector<at::Device>& devices)
      : options(std::move(checkpoint_options)), surroundings(devices, options.preserve_random) {}
  CheckpointOptions options;
  Surroundings surroundings;
  std::function<void()> rerun;
  std::mutex mutex;                        // backward may ask from the threads of two devices
  std::vector<std::weak_ptr<Slot>> slots;  // in the order of saving; dead where the graph let go of one
};

CheckpointFrame::CheckpointFrame(CheckpointOptions options, std::vector<at::Device> devices)
    : state_(std::make_unique<State>(std::move(options), devices)) {}
CheckpointFrame::~CheckpointFrame() = default;

void CheckpointFrame::set_rerun(std::function<void()> rerun) {
  state_->rerun = std::move(rerun);
}

Pack CheckpointFrame::forward_pack() {
  return [frame = shared_from_this()](const at::Tensor& tensor) -> Unpack {
    auto slot = std::make_shared<Slot>(tensor);
    frame->state_->slots.push_back(slot);
    return [frame, slot] { return frame->give_back(slot); };
  };
}

at::Tensor CheckpointFrame::give_back(const std::shared_ptr<Slot>& slot) {
  const std::lock_guard lock(state_->mutex);
  if (!slot->value.defined()) recompute();
  return std::exchange(slot->value, at::Tensor());
}

Pack CheckpointFrame::recompute_pack() {
  return [this, next = std::make_shared<std::size_t>(0)](const at::Tensor& tensor) -> Unpack {
    auto& slots = state_->slots;
    const std::size_t index = (*next)++;
    if (index >= slots.size())
      throw Error(
          fmt::format("nn::checkpoint: recomputing saved more tensors than the first pass, which saved {}: the "
                      "function does not compute the same again (a branch on random numbers or outside state?)",
                      slots.size()));
    if (const auto slot = slots[index].lock()) {
      if (Shape given(tensor); given != slot->shape)
        throw Error(
            fmt::format("nn::checkpoint: recomputing saved {} as tensor {}, the first pass {}: the function does "
                        "not compute the same again",
                        given.text(), index, slot->shape.text()));
      slot->value = tensor.detach();
    }
    if (state_->options.stop_early && *next == slots.size()) throw EnoughRecomputed{};
    // What this second graph saves is asked for only if fn itself runs a backward pass.
    return [kept = tensor.detach()] { return kept; };
  };
}

void CheckpointFrame::recompute() {
  const SurroundingsScope surroundings(state_->surroundings, state_->options.preserve_random);
  const RestoreScope restore(state_->options.restore ? state_->options.restore() : std::vector<at::Tensor>{});
  {
    const c10::AutoGradMode gradients(true);
    const SavedTensorScope scope(recompute_pack());
    try {
      state_->rerun();
    } catch (const EnoughRecomputed&) {
      return;
    }
  }
  for (const auto& weak : state_->slots)
    if (const auto slot = weak.lock(); slot && !slot->value.defined())
      throw Error(
          fmt::format("nn::checkpoint: recomputing saved fewer tensors than the first pass, which saved {}: the "
                      "function does not compute the same again",
                      state_->slots.size()));
}

SavedInput<at::Tensor>::SavedInput(const at::Tensor& tensor) : unpack_(SavedTensorScope::save(tensor)) {
  if (!tensor.defined()) return;
  requires_grad_ = tensor.requires_grad();
  if (tensor.is_inference()) return;
  counter_ = tensor.unsafeGetTensorImpl()->version_counter();
  version_ = counter_.current_version();
}

at::Tensor SavedInput<at::Tensor>::get() const {
  const auto saved = unpack_();
  if (!saved.defined()) return saved;
  if (counter_.enabled() && counter_.current_version() != version_)
    throw Error(
        fmt::format("nn::checkpoint: an input, {}, was changed in place after the call, so it cannot be computed "
                    "from again; change a copy instead",
                    Shape(saved).text()));
  const c10::AutoGradMode no_gradients(false);
  auto input = saved.detach();
  input.set_requires_grad(requires_grad_);
  return input;
}

}  // namespace athanor::nn::detail
