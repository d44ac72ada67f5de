#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "athanor/allocator/CachingAllocator.h"
#include "athanor/rehearse/Ledger.h"

namespace athanor::rehearse::phantom {

/// A block inside a kernel: how much, and how sure that is.
struct Scratch {
  std::int64_t bytes = 0;
  Confidence confidence = Confidence::source;
  std::int64_t low = -1;   ///< Below zero: bytes.
  std::int64_t high = -1;  ///< Below zero: bytes.
};

/// Where an allocation happens.
struct Place {
  c10::DeviceIndex device = 0;
  std::uint64_t stream = 0;
};

/// Operators have one number in the process, whichever rehearsal they run in.
std::uint16_t operator_index(const std::string& name);
std::vector<std::string> operator_names();

/// The operator that is running on this thread, for the ledger. Scopes nest; the outermost one names the allocations.
struct Scope {
  explicit Scope(std::uint16_t operator_name);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  static Scope* current();
  /// Allocates there until the scope ends, as kernels do on the device of their tensors.
  void move_to(c10::DeviceIndex device);

  std::uint16_t operator_name;
  std::uint16_t module = 0;  ///< Of the parameter it touches; 0: none.
  Scope* outer;

 private:
  c10::DeviceIndex came_from_ = -1;
};

/// Writes the ledger: every allocation and free of one rehearsal, with what is known about it at that moment.
/// Called from the program's thread and autograd's; all calls are serialised.
class Recorder {
 public:
  Recorder(int devices, const allocator::DeviceOptions& options);

  struct Allocation {
    std::uint32_t block;
    std::uint64_t address;
  };
  /// Throws c10::OutOfMemoryError past the device's capacity.
  Allocation allocate(std::int64_t bytes, Place place);
  /// What a kernel takes inside; free it with `release`, or keep it for good.
  Allocation allocate(const Scratch& scratch, Place place);
  /// Likewise, for as long as the process lives.
  void keep_workspace(const Scratch& scratch, Place place);
  /// Whether this is the first matrix product of a thread on a stream, or the first with a bias.
  [[nodiscard]] bool first_product(std::thread::id thread, Place place, bool with_bias = false);
  void release(std::uint32_t block) noexcept;
  void record_stream(std::uint32_t block, std::uint64_t stream);
  void synchronize(std::uint64_t stream);
  void empty_cache();
  /// CUDA-graph pools: until `end_pool`, allocations on the device come from a private pool.
  std::uint64_t begin_pool(c10::DeviceIndex device);
  void end_pool(c10::DeviceIndex device, std::uint64_t pool);

  /// Pinned host memory as PyTorch's cache of it holds it: blocks of powers of two, kept for the next of their size.
  /// Source: aten/src/ATen/core/CachingHostAllocator.h.
  void pin(std::size_t bytes);
  void unpin(std::size_t bytes);

  /// The gradient scaler's flag of an overflow: read, it says that there was none.
  void mark_flag(const at::Tensor& tensor);
  [[nodiscard]] bool is_flag(const at::Tensor& tensor);

  /// The program read a value off the GPU and was told `assumed`.
  void note_read(const char* op, bool floating, double assumed);

  /// Something was taken to be so that only data can tell; said once in the forecast.
  void assume(const std::string& what);

  /// From now on the ledger names what this tensor holds (and its gradient, if it is a parameter), wherever it moves.
  void watch(const std::string& path, const at::Tensor& tensor, bool is_parameter);
  void mark(const at::Tensor& tensor, Category category);
  /// What a step copies from the host is its input.
  void mark_input(const at::Tensor& tensor);

  /// The operator and module that a bare `empty` turned out to be for.
  void adopt(const at::Tensor& tensor);

  void begin_step(std::int32_t step);
  /// Phases stated by the program; the innermost wins over what is inferred from autograd.
  void push_phase(Phase phase);
  void pop_phase();

  /// The module whose parameter or buffer lives in this storage; 0: none is known to.
  [[nodiscard]] std::uint16_t module_of(const c10::StorageImpl* storage);
  /// An operator of forward runs: backward's operators find their module by its place in autograd's order.
  void follow(Scope& scope);

  [[nodiscard]] Ledger finish();

 private:
  struct Watched {
    std::uint16_t path = 0;
    c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> tensor;
    bool is_parameter = false;
  };
  Allocation allocate_locked(std::int64_t bytes, Place place);
  void record(std::uint32_t block, bool free);
  void observe_phase();
  void observe_hook();
  void look();
  void mark_gradient(const at::Tensor& gradient, std::uint16_t module);
  void mark_block(std::int64_t block, Category category, std::uint16_t module);
  [[nodiscard]] Phase phase() const;
  [[nodiscard]] std::uint16_t module_now() const;
  [[nodiscard]] std::uint16_t parent_of(std::uint16_t module);
  std::uint16_t intern(const std::string& module);

  std::mutex mutex_;
  std::vector<allocator::CachingAllocator> models_;
  Ledger ledger_;
  std::vector<bool> marked_;
  std::unordered_map<std::string, std::uint16_t> interned_;
  std::vector<Watched> watched_;
  std::unordered_map<const void*, std::uint16_t> module_of_storage_;
  std::vector<std::pair<std::uint64_t, std::uint16_t>> module_by_sequence_;
  std::unordered_map<std::uint16_t, std::uint16_t> parents_;
  std::uint16_t module_ = 0;  ///< Where forward is: the parent of the latest module whose parameter was touched.
  std::set<std::tuple<std::thread::id, c10::DeviceIndex, std::uint64_t, bool>> cublas_handles_;
  std::int32_t step_ = 0;
  std::vector<Phase> stated_;
  bool in_backward_ = false;
  bool after_backward_ = false;
  bool in_hook_ = false;  ///< In what backward calls when a parameter's gradient is there: an optimizer's step.
  std::uint64_t pools_ = 0;
  std::map<std::size_t, std::int64_t> pinned_free_;  ///< Blocks kept, by size.
  std::set<std::int64_t> flags_;                     ///< Blocks.
  std::map<std::vector<void*>, std::size_t> reads_;  ///< Where: the place in Ledger::reads.
};

/// The block behind a storage in this recorder's ledger, or -1.
std::int64_t block_of(const at::Tensor& tensor, const Recorder* recorder);

}  // namespace athanor::rehearse::phantom
