#pragma once
#include <c10/core/Allocator.h>

namespace athanor::rehearse::phantom {

/// Pinned host memory: the CPU's allocator, and a line in the ledger of the rehearsal that runs.
class PinnedMemory final : public c10::Allocator {
 public:
  static PinnedMemory& instance();

  c10::DataPtr allocate(std::size_t bytes) override;
  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* destination, const void* source, std::size_t bytes) const override;
};

}  // namespace athanor::rehearse::phantom
