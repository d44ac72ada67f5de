#pragma once
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace athanor::test {

/// Counts the bytes that live CPU tensors occupy, as asked for, while one is alive. For tests and benchmarks only: it
/// replaces the CPU allocator of the whole process. One at a time; tensors may outlive it.
class CountingAllocator final : public c10::Allocator {
 public:
  CountingAllocator() : before_(c10::GetCPUAllocator()) {
    live_ = peak_ = 0;
    c10::SetCPUAllocator(this, /*priority=*/200);
  }
  ~CountingAllocator() override { c10::SetCPUAllocator(before_, /*priority=*/200); }

  c10::DataPtr allocate(std::size_t size) override {
    auto data = before_->allocate(size);
    void* address = data.get();
    if (address == nullptr) return data;
    const auto now = live_ += static_cast<std::int64_t>(size);
    auto peak = peak_.load();
    while (now > peak && !peak_.compare_exchange_weak(peak, now)) {
    }
    const std::scoped_lock lock(mutex_);
    blocks_.emplace(address, Block{std::move(data), static_cast<std::int64_t>(size)});
    // oneDNN takes its scratch as bare addresses, so an address is all that the deleter may need.
    return {address, address, &release, c10::Device(c10::kCPU)};
  }
  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t size) const override { default_copy_data(to, from, size); }

  [[nodiscard]] std::int64_t live() const { return live_; }
  [[nodiscard]] std::int64_t peak() const { return peak_; }
  void reset_peak() { peak_ = live_.load(); }

 private:
  struct Block {
    c10::DataPtr data;
    std::int64_t size;
  };
  static void release(void* address) {
    const std::scoped_lock lock(mutex_);
    const auto found = blocks_.find(address);
    if (found == blocks_.end()) return c10::GetDefaultCPUAllocator()->raw_deallocate(address);  // none of ours
    live_ -= found->second.size;
    blocks_.erase(found);
  }
  static inline std::mutex mutex_;
  static inline auto& blocks_ = *new std::unordered_map<void*, Block>;  // tensors may outlive main
  static inline std::atomic<std::int64_t> live_ = 0;
  static inline std::atomic<std::int64_t> peak_ = 0;
  c10::Allocator* before_;
};

}  // namespace athanor::test
