#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace athanor::rehearse::phantom {

/// How a reduction's CUDA kernel is made, as far as its launch depends on it.
struct ReductionKernel {
  std::int64_t argument_bytes = 0;  ///< Of the value a thread carries; 0: the accumulation type of the input.
  int values_per_thread = 4;        ///< vt0 in Reduce.cuh.
};

/// What reducing `input` into `result` takes inside: a cast copy where dtypes ask for one, and staging memory with
/// semaphores where the input is split over thread blocks (a few outputs of many inputs).
/// `dims` empty: all of them. Source: aten/src/ATen/native/cuda/Reduce.cuh, setReduceConfig.
void reduction_scratch(const at::Tensor& result, const at::Tensor& input, const std::vector<std::int64_t>& dims,
                       bool keep, const ReductionKernel& kernel);

}  // namespace athanor::rehearse::phantom
