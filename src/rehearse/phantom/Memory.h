#pragma once
#include <c10/core/Allocator.h>

#include <memory>
#include <optional>
#include <vector>

#include "rehearse/phantom/Recorder.h"

namespace athanor::rehearse::phantom {

/// The allocator behind every tensor on the phantom: unique addresses that must never be read, and a line in the
/// ledger. One for the process, as c10 wants it; `attach` says which rehearsal is being recorded.
class Memory final : public c10::Allocator {
 public:
  static Memory& instance();

  void attach(std::shared_ptr<Recorder> recorder) { recorder_ = std::move(recorder); }
  [[nodiscard]] const std::shared_ptr<Recorder>& recorder() const { return recorder_; }

  c10::DataPtr allocate(std::size_t bytes) override;
  [[nodiscard]] c10::DataPtr allocate(const Scratch& scratch, Place place);
  void record_stream(const c10::DataPtr& pointer, std::uint64_t stream) const;
  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override;
  void copy_data(void*, const void*, std::size_t) const override {}

 private:
  [[nodiscard]] c10::DataPtr wrap(Recorder::Allocation allocation, c10::DeviceIndex device) const;
  std::shared_ptr<Recorder> recorder_;
};

/// An operator is run for its shapes: on this thread tensors get addresses and no memory. With a list of allocations,
/// by their number, only those go without.
class Trial {
 public:
  Trial();
  explicit Trial(std::vector<std::size_t> without_memory);
  ~Trial();
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  /// Whether what happens on this thread happens for its shapes alone.
  static bool for_shapes();
  /// The number of an allocation made in a trial, counted from its start.
  static std::optional<std::size_t> number_of(const c10::DataPtr& pointer);

 private:
  friend class Memory;
  /// Whether the next allocation of this thread goes without memory; counts it.
  static std::optional<std::size_t> next_without_memory();

  Trial* outer_;
  bool all_;  // of a trial inside one for shapes too
  std::vector<std::size_t> without_memory_;
  std::size_t count_ = 0;
};

}  // namespace athanor::rehearse::phantom
