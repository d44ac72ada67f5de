#pragma once
#include <c10/core/Allocator.h>

#include <cstdint>

#include "athanor/allocator/Settings.h"

namespace athanor::rehearse::phantom {

/// The first matrix product of a thread on a stream makes cuBLAS's workspace, which stays. Call it after the product's
/// output is made, as PyTorch does. Source: aten/src/ATen/cuda/CublasHandlePool.cpp; sizes measured on real GPUs.
void take_cublas_workspace();

/// The size of that workspace: 4096 KiB twice and 16 KiB eight times; 32 MiB on compute capability 9.0, and on 10 and
/// 12 from PyTorch 2.8. Source: getChosenWorkspaceSize in the same file.
std::int64_t cublas_workspace(int compute_capability, allocator::Version version);

/// What cublasLt, which adds a bias to a product, has beside that: 1 MiB before PyTorch 2.8, then as much as cuBLAS,
/// from 2.11 on nothing of its own. Source: aten/src/ATen/cuda/CUDABlas.cpp; measured before 2.8.
std::int64_t cublaslt_workspace(int compute_capability, allocator::Version version);

/// Whether it stays, as cuBLAS's does (from PyTorch 2.9 on), or goes with the product.
bool cublaslt_keeps(allocator::Version version);

/// cublasLt's workspace for a product with a bias, until the returned handle goes. Call it before
/// take_cublas_workspace.
[[nodiscard]] c10::DataPtr take_cublaslt_workspace();

}  // namespace athanor::rehearse::phantom
