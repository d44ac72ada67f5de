#pragma once

namespace athanor::rehearse::phantom {

/// The first matrix product of a thread on a stream makes cuBLAS's workspace, which stays. Call it after the product's
/// output is made, as PyTorch does. Source: aten/src/ATen/cuda/CublasHandlePool.cpp; sizes measured on real GPUs.
void take_cublas_workspace();

}  // namespace athanor::rehearse::phantom
