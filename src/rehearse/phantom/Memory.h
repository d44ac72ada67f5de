#pragma once
#include <c10/core/Allocator.h>

#include <memory>

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

}  // namespace athanor::rehearse::phantom
