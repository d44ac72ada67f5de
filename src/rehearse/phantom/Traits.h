#pragma once
#include <cstdint>

namespace athanor::rehearse::phantom {

/// What the phantom says it is: the facts about a GPU on which PyTorch's choice of kernels, and so memory, depends.
struct Traits {
  int compute_capability = 80;  ///< major * 10 + minor
  int sm_count = 108;
  int threads_per_sm = 2048;
  int devices = 1;
  std::int64_t cublas_workspace = 8519680;  ///< Per thread and stream that multiplies.
  std::int64_t cublaslt_workspace = 0;      ///< Beside it, for products with a bias.
  bool cublaslt_keeps = false;              ///< Whether that one stays, too, or goes with its product.
};

}  // namespace athanor::rehearse::phantom
