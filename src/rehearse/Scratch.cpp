#include "rehearse/Scratch.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "rehearse/phantom/Attention.h"
#include "rehearse/phantom/Products.h"

namespace athanor::rehearse {
namespace {

struct Entry {
  std::string_view what, size, source, confidence;
};

// Whether a size is the one that real GPUs were seen to take (docs/validation.md), follows from PyTorch's source, or is
// the library's secret, of which the forecast's range has the bounds.
constexpr std::array<Entry, 15> entries{{
    {"cuBLAS, once for each thread and stream that multiplies", "the first table", "ATen/cuda/CublasHandlePool.cpp",
     "measured on 8.0 and 9.0"},
    {"cublasLt, for products with a bias",
     "1 MiB while one runs up to PyTorch 2.7; in 2.8 as much as cuBLAS; in 2.9 and 2.10 kept; then cuBLAS's own",
     "ATen/cuda/CUDABlas.cpp", "measured up to 2.7, then PyTorch's source"},
    {"large reductions over a dimension that is not the fastest",
     "staging and semaphores, by the number of SMs and threads of each", "native/cuda/Reduce.cuh", "measured"},
    {"adding at indices (`index_put_` with accumulate, backward of indexing)", "six blocks of 8 bytes an index",
     "native/cuda/Indexing.cu", "measured"},
    {"sorting pairs (cub), up to 2,048", "1 byte", "cub", "measured"},
    {"sorting pairs (cub), more", "copies and counters; 72,191 bytes at 4,096 pairs of 64 bits", "cub",
     "measured at 4,096, else bounds"},
    {"batch products of unreadable strides", "a copy of the operand", "native/cuda/Blas.cpp", "measured"},
    {"memory-efficient attention, backward, fp32", "product, sum and row sums; 16,400 bytes a tile of 64 × 64",
     "transformers/cuda/attention_backward.cu", "measured at width 64"},
    {"memory-efficient attention, backward, half precision", "row sums, a buffer a tile", "kernel_backward.h",
     "PyTorch's source"},
    {"flash attention, backward", "row sums and the queries' gradient in fp32", "flash_attn/flash_api.cpp",
     "PyTorch's source"},
    {"embedding backward over 3,072 indices", "sorted indices, segments, partial sums in fp32",
     "native/cuda/EmbeddingBackwardKernel.cu", "PyTorch's source"},
    {"coalescing sparse gradients", "copies of indices and places, where tiles begin; the states of tiles",
     "cub's DeviceMergeSort and UniqueByKey under thrust", "bounds"},
    {"cuDNN's convolutions",
     "what a cuDNN that is asked (`--cudnn`) says; else between nothing and converted copies of input, filter and "
     "output; nothing if channels-last",
     "native/cudnn/Conv_v8.cpp and cuDNN; what implicit GEMM on tensor cores needs",
     "that cuDNN's word; bounds, in which recordings lie"},
    {"cuDNN's recurrent layers", "workspace 1 to 8 times the outputs, reserve 2 to 10 times", "native/cudnn/RNN.cpp",
     "bounds"},
    {"cuSOLVER, cuFFT", "between nothing and copies of the arguments", "native/cuda/linalg, SpectralOps.cpp", "bounds"},
}};

std::string by_architecture() {
  std::string text =
      "| compute capability | cuBLAS workspace, PyTorch ≤ 2.7 | ≥ 2.8 | attention's backward tile at width 64, 128, "
      "half 128 |"
      "\n|---|---:|---:|---|\n";
  for (const int capability : {70, 75, 80, 86, 89, 90, 100, 120}) {
    const auto tile = [&](bool half, std::int64_t width) {
      const auto [queries, keys] = phantom::backward_tile(capability, half, width);
      return fmt::format("{} × {}", queries, keys);
    };
    text += fmt::format("| {}.{} | {} | {} | {}, {}, {} |\n", capability / 10, capability % 10,
                        phantom::cublas_workspace(capability, {2, 7}), phantom::cublas_workspace(capability, {2, 8}),
                        tile(false, 64), tile(false, 128), tile(true, 128));
  }
  return text;
}

}  // namespace

std::string scratch_section() {
  auto text = "## Inside the kernels\n\nBytes that no tensor shows.\n\n" + by_architecture() +
              "\n| what | how much | source | how well |\n|---|---|---|---|\n";
  for (const auto& entry : entries)
    text += fmt::format("| {} | {} | {} | {} |\n", entry.what, entry.size, entry.source, entry.confidence);
  return text;
}

}  // namespace athanor::rehearse
