#pragma once
#include <c10/core/Device.h>

#include <string>

#include "athanor/core/Bytes.h"

namespace athanor::cuda {

/// Whether this process can compute on a CUDA device, and why not where it cannot.
struct Status {
  int devices = 0;     ///< 0: none usable.
  std::string reason;  ///< Empty if devices > 0.
};

/// Loads libtorch_cuda, which the program is not linked to, from beside libtorch_cpu: once, and only where a driver
/// (libcuda.so.1) is. Thread-safe; later calls return the first answer.
Status load();

/// The device a configuration names: "cpu", "cuda", "cuda:1", or "auto" (cuda:0 where usable, else cpu).
/// Throws std::invalid_argument for another name or an index there is none of, athanor::Error where CUDA was asked for
/// and cannot be had.
c10::Device resolve(const std::string& name);

/// What the driver calls a card ("NVIDIA GeForce RTX 4090"), in CUDA's order, which CUDA_VISIBLE_DEVICES decides; ""
/// where there is no driver or no such card. Asks the driver alone, no LibTorch, and leaves no CUDA context behind.
std::string card_name(int index, const std::string& driver = "libcuda.so.1");

/// What PyTorch's caching allocator holds on a device, and what the device has. Also true of a phantom GPU.
struct Memory {
  Bytes allocated;
  Bytes reserved;
  Bytes peak_allocated;
  Bytes peak_reserved;
  Bytes free;  ///< As the driver says, all processes counted; 0 where it cannot be asked.
  Bytes total;
};

/// Throws athanor::Error if no CUDA allocator is there.
Memory memory(c10::Device device);

/// Gives cached blocks that nothing uses back to the driver (torch.cuda.empty_cache). Does nothing without CUDA.
void empty_cache();

}  // namespace athanor::cuda
