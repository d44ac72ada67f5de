#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "athanor/gpu/Table.h"

namespace athanor::rehearse::phantom {

/// What PyTorch knows of a convolution beside its operands.
struct ConvolutionSettings {
  at::IntArrayRef padding, stride, dilation;
  bool benchmark = false;
  bool deterministic = false;
  bool tf32 = true;
};

/// Which of a convolution's three operations.
enum class Pass : std::uint8_t { forward, data, filter };

/// One operation, with operands as cuDNN gets them: `data` makes the input, `filter` the filter.
struct Convolution {
  Pass pass;
  const at::Tensor &input, &filter, &output;
  const ConvolutionSettings& settings;
};

/// A real libcudnn, asked in a process of its own which workspaces its convolutions would take on a GPU that is not
/// there: cuDNN plans from a description of the GPU. One for each rehearsal; the process starts with the first question
/// and serves all rehearsals after it.
class Cudnn {
 public:
  /// `where`: the library, a folder that has it, or "auto": beside the LibTorch in use. Throws std::invalid_argument.
  Cudnn(const std::string& where, const gpu::Gpu& gpu);

  /// In bytes, of the plans in the order in which PyTorch tries them, without those that ask for more than the whole
  /// GPU; empty where cuDNN has none. Throws athanor::Error if the library does not load, ends, or is silent.
  std::vector<std::int64_t> workspaces(const Convolution& convolution);
  /// Whether this has not been asked about this convolution: the trials of `cudnn.benchmark` run once.
  [[nodiscard]] bool first_trial(const Convolution& convolution);

  /// Whose word it was, for people; empty before the first question.
  [[nodiscard]] std::string description() const;

 private:
  class Process;

  std::filesystem::path library_;
  std::string device_;
  std::int64_t usable_;
  mutable std::mutex mutex_;
  std::shared_ptr<Process> process_;
  std::set<std::string> tried_;
};

/// The library that `where` (of Cudnn's constructor) means. Throws std::invalid_argument.
std::filesystem::path library_of_cudnn(const std::string& where);

/// The properties of a GPU as cuDNN reads them, JSON.
std::string device_properties(const gpu::Gpu& gpu);

}  // namespace athanor::rehearse::phantom
