#pragma once
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

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
    auto* block = new Block{std::move(data), static_cast<std::int64_t>(size)};
    const auto now = live_ += block->size;
    auto peak = peak_.load();
    while (now > peak && !peak_.compare_exchange_weak(peak, now)) {
    }
    return {block->data.get(), block, &release, c10::Device(c10::kCPU)};
  }
  void copy_data(void* to, const void* from, std::size_t size) const override { default_copy_data(to, from, size); }

  [[nodiscard]] std::int64_t live() const { return live_; }
  [[nodiscard]] std::int64_t peak() const { return peak_; }
  void reset_peak() { peak_ = live_.load(); }

 private:
  struct Block {
    c10::DataPtr data;
    std::int64_t size;
  };
  static void release(void* context) {
    auto* block = static_cast<Block*>(context);
    live_ -= block->size;
    delete block;
  }
  static inline std::atomic<std::int64_t> live_ = 0;
  static inline std::atomic<std::int64_t> peak_ = 0;
  c10::Allocator* before_;
};

}  // namespace athanor::test
