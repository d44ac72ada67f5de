#pragma once
#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include "hwy/base.h"
#include "optim/Method.h"
#include "optim/Progress.h"
#include "optim/engine/Lists.h"
#include "optim/kernels/Kernels.h"

namespace athanor::optim {

/// Tensors of one device and dtype at the same coefficients: what one call of a rule on lists gets.
struct Bucket {
  lists::Lists params, grads;
  std::vector<lists::Lists> slots;
  std::vector<at::Tensor> steps;  ///< Device steps, for fused kernels.
  std::vector<ParamState*> states;
  std::vector<std::uint64_t> noise;  ///< Keys of stochastic rounding.
  std::vector<at::Tensor> changed;   ///< What the step changes, where it may be taken back.
};

/// The steps of a bucket on its device, counted up by one; for LibTorch's fused kernels.
std::vector<at::Tensor> device_steps(const Bucket& bucket);
/// Takes the step back where found_inf is 1, without asking the device.
void finish_steps(const std::vector<at::Tensor>& steps, const Pass& pass);
/// The gradient scaler's scale on the bucket's device, nullopt if it is 1; and its found_inf.
std::optional<at::Tensor> device_scale(const Bucket& bucket, const Pass& pass);
std::optional<at::Tensor> device_found_inf(const Pass& pass);

/// The storage of Storage.h for lists of tensors: parameters, gradients and state in float while a rule works on them,
/// then rounded and folded back. What the engine's kernels do a vector at a time costs temporaries here, so the bucket
/// is cut into stretches and a few of them taken at a time; the noise of stochastic rounding is the engine's.
class StoredLists {
 public:
  StoredLists(const Bucket& bucket, const Storage& storage, const std::vector<Slot>& slots);

  /// Calls rule(params, grads, slots) on every stretch, and keeps what it makes of them.
  template <class Rule>
  void apply(const Rule& rule) const {
    for (const auto& stretches : batches_) {
      Floats now = unfolded(stretches);
      rule(now.params, now.grads, now.slots.data());
      fold_back(stretches, now);
    }
    for (const auto& [param, in_order] : gaps_) param.copy_(in_order);
  }

 private:
  /// Elements of one parameter that follow each other in memory, with what is kept for them.
  struct Stretch {
    at::Tensor param, grad, lost;
    std::vector<at::Tensor> slots, scales;
    std::uint64_t noise = 0;
    std::int64_t first = 0;  // element of the parameter
  };
  struct Floats {
    lists::Lists params, grads;
    std::vector<lists::Lists> slots;
  };
  /// The codes of an 8-bit slot.
  struct Codes {
    bool positive;
    at::Tensor magnitudes;  // and the one above all
    at::Tensor values;      // by code, sign included
  };
  static Codes codes(bool positive, const at::Device& device);
  static at::Tensor unfold(const at::Tensor& kept, const at::Tensor& scales, const Codes& codes);
  static void fold(const at::Tensor& values, const at::Tensor& kept, const at::Tensor& scales, const Codes& codes,
                   std::uint64_t key, std::int64_t first);
  void cut(const Bucket& bucket, std::size_t i);
  [[nodiscard]] Floats unfolded(const std::vector<Stretch>& stretches) const;
  void fold_back(const std::vector<Stretch>& stretches, const Floats& now) const;

  const Storage& storage_;
  bool borrowed_;
  std::vector<std::optional<Codes>> codes_;  // by slot; none: its state is taken as it is
  std::vector<std::vector<Stretch>> batches_;
  std::int64_t room_ = 0;                                // elements that the last of them still takes
  std::vector<std::pair<at::Tensor, at::Tensor>> gaps_;  // parameters with gaps in memory, and a copy without
};

/// The type-independent half of Elementwise: the engine's (EngineRows.cpp), and the sorting of lists (Elementwise.cpp).
class ElementwiseMethod : public Method {
 public:
  [[nodiscard]] std::vector<std::string> scalars() const override { return {}; }
  /// Counts the step of an entry and returns the coefficients of it, alive until the pass is over. Safe to call from
  /// several threads for different entries, between begin_pass and the end of the pass.
  virtual const void* count_step(Group& group, std::uint32_t entry, const AnyOptions& options,
                                 const Pass& pass) const = 0;

 protected:
  /// Entries that the engine does not update, and that have a gradient.
  struct Rest {
    std::vector<std::uint32_t> sparse;  ///< With a sparse gradient.
    std::vector<std::uint32_t> lists;   ///< For LibTorch's operators.
  };
  /// Makes room for the coefficients of every entry.
  virtual void begin_pass(Group& group, const AnyOptions& options, const Pass& pass) const = 0;
  /// Updates what the vectorised engine can and sorts the rest. Throws std::invalid_argument for a gradient of another
  /// shape or a sparse one that the method does not take: before any update, unless the gradient was another at the
  /// step before.
  Rest run_engine(Group& group, const AnyOptions& options, const Pass& pass, const engine::Kernels& kernels);
  static void add_to(Bucket& bucket, const Entry& entry, std::size_t slot_count);
  /// Whether an entry is of the bucket's device and dtype and stores its state in the same way.
  static bool same_kind(const Bucket& bucket, const Entry& entry);
  /// Buckets whose parameters have made the same steps, as far as only the device knows.
  static std::vector<Bucket> buckets_on_device(Group& group, const Pass& pass, const std::vector<std::uint32_t>& active,
                                               std::size_t slot_count);
  /// The first state's progress is that of all in the bucket.
  static void share_progress(Bucket& bucket);

 private:
  Rest take_up(Group& group, const AnyOptions& options, const Pass& pass, const engine::Kernels& kernels,
               std::vector<std::uint32_t>& engine, std::vector<at::Tensor>& kept);
};

/// A method that treats every element alike. Traits say:
///   Options, Coefficients, kind, slot_count, has_step
///   slots(options)                        the state tensors
///   kernels(options)                      the engine's kernels of the rule
///   CoefficientsOf<Real>, coefficients<Real>(options, step, scalars)   the numbers of the step; scalars may be changed
///   update(params, grads, slots, options, coefficients)   the rule on lists
/// and may say
///   fused(bucket, options, pass)          LibTorch's fused kernel
///   fuses(options)                        whether it does what these settings say; absent: always
template <class Traits>
class Elementwise : public ElementwiseMethod {
 public:
  using Options = typename Traits::Options;
  using Coefficients = typename Traits::Coefficients;
  static constexpr bool has_fused = requires(Bucket & b, const Options& o, const Pass& p) { Traits::fused(b, o, p); };
  static constexpr bool has_sparse =
      requires(const at::Tensor& t, ParamState& s, const Options& o, const Coefficients& c) {
    Traits::sparse(t, t, s, o, c);
  };
  static constexpr bool has_scalars = requires { Traits::scalars(); };

  [[nodiscard]] const char* kind() const override { return Traits::kind; }
  [[nodiscard]] bool has_step() const override { return Traits::has_step; }
  [[nodiscard]] std::vector<Slot> slots(const AnyOptions& options) const override { return Traits::slots(of(options)); }
  [[nodiscard]] const Storage* storage(const AnyOptions& options) const override {
    if constexpr (requires { of(options).storage; }) return &of(options).storage;
    return nullptr;
  }
  [[nodiscard]] std::vector<std::string> scalars() const override {
    if constexpr (has_scalars) return Traits::scalars();
    return {};
  }
  void initialise(ParamState& state, const at::Tensor& param, const AnyOptions& options) const override {
    if constexpr (requires { Traits::initialise(state, param, of(options)); })
      Traits::initialise(state, param, of(options));
  }
  [[nodiscard]] bool takes_sparse() const override { return has_sparse; }
  [[nodiscard]] bool masks_on(const at::Device& device) const override { return !device.is_cpu(); }

  void step(Group& group, AnyOptions& any, const Pass& pass) override {
    const Options& options = of(any);
    const Rest rest = run_engine(group, any, pass, Traits::kernels(options));
    run_lists(group, options, pass, rest.lists);
    if constexpr (has_sparse) {
      for (const auto i : rest.sparse) {
        const Entry& entry = group.entries[i];
        Coefficients c = next(options, *entry.state, pass.inverse_scale);
        if (pass.device_scale.defined()) c.grad_factor /= pass.device_scale.item<double>();
        Traits::sparse(entry.param, grad_of(entry.param), *entry.state, options, c);
      }
    }
  }

 private:
  static const Options& of(const AnyOptions& options) {
    return static_cast<const GroupOptions<Options>&>(options).value;
  }

  static Coefficients next(const Options& options, ParamState& state, double inverse_scale) {
    ++state.step;
    Coefficients c = Traits::template coefficients<double>(options, static_cast<double>(state.step), state.scalars);
    c.grad_factor = (options.maximize ? -1.0 : 1.0) * inverse_scale;
    return c;
  }

  // Tensors at the same step share their coefficients; most often that is all of them.
  struct OfPass {
    std::int64_t before = -1;  // the step that most tensors have made
    Coefficients shared{};
    std::vector<Coefficients> own;
  };
  void begin_pass(Group& group, const AnyOptions& any, const Pass& pass) const override {
    if (!group.coefficients) group.coefficients = std::make_shared<OfPass>();
    auto& of_pass = *static_cast<OfPass*>(group.coefficients.get());
    of_pass.own.resize(group.entries.size());
    of_pass.before = -1;
    if (has_scalars) return;
    const auto begun = std::find_if(group.entries.begin(), group.entries.end(),
                                    [](const Entry& entry) { return entry.state != nullptr; });
    if (begun == group.entries.end()) return;
    ParamState like_most;
    like_most.step = of_pass.before = begun->state->step;
    of_pass.shared = next(of(any), like_most, pass.inverse_scale);
  }
  const void* count_step(Group& group, std::uint32_t entry, const AnyOptions& any, const Pass& pass) const override {
    auto& of_pass = *static_cast<OfPass*>(group.coefficients.get());
    ParamState& state = *group.entries[entry].state;
    if (state.step == of_pass.before) {
      ++state.step;
      return &of_pass.shared;
    }
    return &(of_pass.own[entry] = next(of(any), state, pass.inverse_scale));
  }

  void run_lists(Group& group, const Options& options, const Pass& pass, const std::vector<std::uint32_t>& active) {
    std::vector<std::pair<Coefficients, Bucket>> buckets;
    std::vector<std::uint32_t> on_device;
    for (const auto i : active) {
      const Entry& entry = group.entries[i];
      Coefficients c{};
      const bool fused = fuses(entry.param, options);
      if (!fused && counts_on_device(*entry.state, pass.device_found_inf)) {
        on_device.push_back(i);
        continue;
      }
      if (!fused) c = next(options, *entry.state, pass.inverse_scale);
      const auto fits = [&](const auto& bucket) {
        return std::memcmp(&bucket.first, &c, sizeof c) == 0 && same_kind(bucket.second, entry);
      };
      auto bucket = std::find_if(buckets.begin(), buckets.end(), fits);
      if (bucket == buckets.end()) bucket = buckets.insert(buckets.end(), {c, {}});
      add_to(bucket->second, entry, Traits::slot_count);
    }
    for (auto& [coefficients, bucket] : buckets) {
      if constexpr (has_fused) {
        if (fuses(bucket.params.tensors.front(), options)) {
          Traits::fused(bucket, options, pass);
          continue;
        }
      }
      unscale(bucket, pass, coefficients.grad_factor);
      update_stored(bucket, options, coefficients);
    }
    run_on_device(group, options, pass, on_device);
  }

  // The device counts the steps, and takes back those whose gradients overflowed: nobody waits to hear of it.
  void run_on_device(Group& group, const Options& options, const Pass& pass, const std::vector<std::uint32_t>& active) {
    for (auto& bucket : buckets_on_device(group, pass, active, Traits::slot_count)) {
      ParamState& first = *bucket.states.front();
      Progress<at::Tensor> now = coming_step(first, bucket.params.tensors.front().device());
      auto coefficients = Traits::template coefficients<at::Tensor>(options, now.step, now.scalars);
      coefficients.grad_factor = (options.maximize ? -1.0 : 1.0) * pass.inverse_scale;
      Undo undo(bucket.changed, pass.device_found_inf);
      unscale(bucket, pass, coefficients.grad_factor);
      update_stored(bucket, options, coefficients);
      undo.put_back();
      keep_progress(first, now, pass.device_found_inf);
      share_progress(bucket);
    }
  }

  static void unscale(Bucket& bucket, const Pass& pass, double factor) {
    if (pass.device_scale.defined())
      bucket.grads = {at::_foreach_mul(bucket.grads.tensors, pass.device_scale.reciprocal())};
    if (factor != 1) mul_(bucket.grads, factor);
  }

  static bool fuses(const at::Tensor& param, const Options& options) {
    if (!has_fused || !param.is_cuda() || !plain(options)) return false;
    if constexpr (requires { Traits::fuses(options); }) return Traits::fuses(options);
    return true;
  }
  // State in the parameter's dtype, parameters rounded to nearest: what LibTorch's fused kernels do.
  static bool plain(const Options& options) {
    if constexpr (requires { options.storage; })
      return options.storage.states == "same" && options.storage.rounding == "nearest";
    return true;
  }
  template <class C>
  void update_stored(Bucket& bucket, const Options& options, const C& coefficients) {
    if (!plain(options)) {
      if constexpr (requires { options.storage; }) {
        const at::ScalarType type = bucket.params.tensors.front().scalar_type();
        if (type == at::kFloat || type == at::kBFloat16) {
          return StoredLists(bucket, options.storage, Traits::slots(options))
              .apply([&](lists::Lists& params, lists::Lists& grads, lists::Lists* slots) {
                Traits::update(params, grads, slots, options, coefficients);
              });
        }
      }
    }
    Traits::update(bucket.params, bucket.grads, bucket.slots.data(), options, coefficients);
  }
};

}  // namespace athanor::optim
