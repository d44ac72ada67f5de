#pragma once
#include <cstdint>

#include "athanor/allocator/Settings.h"

namespace athanor::rehearse::phantom {

/// The first matrix product of a thread on a stream makes cuBLAS's workspace, which stays. Call it after the product's
/// output is made, as PyTorch does. Source: aten/src/ATen/cuda/CublasHandlePool.cpp; sizes measured on real GPUs.
void take_cublas_workspace();

/// The size of that workspace: 4096 KiB twice and 16 KiB eight times; 32 MiB on compute capability 9.0, and on 10 and
/// 12 from PyTorch 2.8. Source: getChosenWorkspaceSize in the same file.
std::int64_t cublas_workspace(int compute_capability, allocator::Version version);

}  // namespace athanor::rehearse::phantom
