#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace athanor::rehearse {

/// What a block of GPU memory is for.
enum class Category : std::uint8_t {
  parameters,   ///< Parameters and buffers: what was put on the GPU before the first step and stayed.
  gradients,    ///< What `.grad` of a parameter holds.
  optimizer,    ///< State the optimizer keeps from step to step.
  activations,  ///< Made in forward and kept for backward.
  inputs,       ///< Batches copied from the host.
  temporaries,  ///< Everything else: intermediate results, gradients of activations, the optimizer's scratch.
  workspace,    ///< What kernels and libraries allocate inside: cuBLAS workspaces, sort buffers, reduction staging.
};
inline constexpr std::size_t category_count = 7;
std::string_view name(Category category);

/// The part of a training step in which something happened.
enum class Phase : std::uint8_t { setup, forward, backward, optimizer, validation };
std::string_view name(Phase phase);

/// How well the size of a block inside a kernel is known.
enum class Confidence : std::uint8_t {
  exact,     ///< A tensor, or measured on real GPUs to the byte.
  source,    ///< Follows PyTorch's source; not yet measured.
  estimate,  ///< The library decides (cuDNN, cuSOLVER, cuFFT); `Block::low` and `high` bound it.
};

inline constexpr std::uint32_t still_alive = std::numeric_limits<std::uint32_t>::max();

/// One allocation on the phantom GPU. Sizes in bytes; times are event numbers.
struct Block {
  std::uint64_t address = 0;
  std::int64_t requested = 0;
  std::int64_t size = 0;  ///< Of the allocator's block: the request rounded up, and slack that was not worth a split.
  std::uint32_t born = 0;
  std::uint32_t died = still_alive;
  std::int32_t step = 0;            ///< 0 is the set-up; training steps count from 1.
  std::uint16_t operator_name = 0;  ///< Index into Ledger::operators.
  std::uint16_t module = 0;         ///< Index into Ledger::modules: "layers.3.attention"; "" where unknown.
  std::uint16_t device = 0;
  std::uint16_t stream = 0;
  Phase phase = Phase::setup;
  Category category = Category::temporaries;
  Confidence confidence = Confidence::exact;
  std::int64_t low = 0;  ///< Bounds of `requested` where confidence is `estimate`.
  std::int64_t high = 0;
};

/// An allocation or a free, in the order the program made them.
struct Event {
  std::uint32_t block = 0;  ///< Index into Ledger::blocks.
  bool free = false;
  Phase phase = Phase::setup;
  std::int32_t step = 0;
  std::int64_t allocated = 0;  ///< Of the block's device, after the event.
  std::int64_t reserved = 0;   ///< Likewise.
};

using ByCategory = std::array<std::int64_t, category_count>;

/// One row of a break-down at one moment.
struct Share {
  std::string name;
  std::int64_t bytes = 0;
  ByCategory by_category{};
};

/// A value that the program read off the GPU, which a rehearsal does not have: what it was told instead.
struct ValueRead {
  std::string op;      ///< "aten::_local_scalar_dense"
  std::string module;  ///< As Block::module.
  std::string where;   ///< "train.cpp:42 in main", or the function alone in a program without -g; "" where unknown.
  double assumed = 0;
  bool floating = true;  ///< Which of Options::floating_values and integral_values it was.
  Phase phase = Phase::setup;
  std::int32_t step = 0;  ///< The first time.
  std::int64_t times = 0;
};

/// Every byte of a rehearsal: who asked for it, when, for what, and when it went. A value; plain data.
class Ledger {
 public:
  std::vector<std::string> operators{""};
  std::vector<std::string> modules{""};
  std::vector<Block> blocks;
  std::vector<Event> events;
  std::vector<ValueRead> reads;          ///< By place, in the order they were met.
  std::vector<std::string> assumptions;  ///< What only data can tell and was taken to be so, a sentence each.
  std::int64_t pinned_peak = 0;          ///< Pinned host memory that PyTorch's cache would hold, in bytes.

  /// The event at which a device's allocated bytes were highest (the first of several); 0 events: 0.
  [[nodiscard]] std::uint32_t peak_event(int device = 0) const;
  /// Blocks alive just after `event`, by address.
  [[nodiscard]] std::vector<std::uint32_t> alive_at(std::uint32_t event, int device = 0) const;
  /// Allocated bytes by category just after `event`.
  [[nodiscard]] ByCategory by_category(std::uint32_t event, int device = 0) const;
  /// The same by module path cut to `depth` parts (0: whole) and by operator, largest first.
  [[nodiscard]] std::vector<Share> by_module(std::uint32_t event, int depth = 0, int device = 0) const;
  [[nodiscard]] std::vector<Share> by_operator(std::uint32_t event, int device = 0) const;

  /// Decides the category of every block that nobody marked, from when it was made and when it went.
  void categorise(const std::vector<bool>& marked);
};

}  // namespace athanor::rehearse
