#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace athanor::plan {

/// What an operator does on the device, counted from its shapes.
struct Work {
  std::string op;         ///< "aten::mm"
  std::string rate;       ///< Which peak rate it runs at: "fp32", "tf32", "bf16", "fp16"; "" where it only moves bytes.
  double flops = 0;       ///< A multiply-add counts as two.
  double bytes = 0;       ///< Read and written in device memory, each tensor once.
  double host_bytes = 0;  ///< Over the bus between host and device.
};

/// Notes the work of every operator that runs on a device while it is alive, on all threads (backward's too). Counts
/// leaf operators: one that is made of others counts for nothing, they do. Made for rehearsals, where operators cost
/// only their bookkeeping; slows real ones down by a few microseconds each.
class WorkCounter {
 public:
  /// `device_only`: operators on host tensors are left out.
  explicit WorkCounter(bool device_only = true);
  ~WorkCounter();
  WorkCounter(const WorkCounter&) = delete;
  WorkCounter& operator=(const WorkCounter&) = delete;

  /// What was noted so far, in order; the notes start anew.
  [[nodiscard]] std::vector<Work> take();

  struct State;  // of Work.cpp

 private:
  std::unique_ptr<State> state_;
};

}  // namespace athanor::plan
