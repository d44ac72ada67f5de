#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace athanor::store {

/// Tensors by name, in the caller's order.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

struct SaveOptions {
  bool sync = true;     ///< Waits until the file is on the disk, and its name in the folder.
  bool digest = false;  ///< Computes the file's SHA-256 in the same pass, on a second thread.
};

struct Saved {
  std::uint64_t bytes = 0;
  std::string sha256;  ///< Lower-case hexadecimal; "" without SaveOptions::digest.
};

/// Writes tensors as a safetensors file: beside its place, synced, renamed into it, so a reader never sees a part.
/// Any device, layout and dtype of the format; needs at most 48 MiB beyond the tensors. Readable by Python's
/// safetensors.torch.load_file. Names must differ. Tensors that share memory are each written in full.
/// Throws std::invalid_argument (undefined or sparse tensor, unknown dtype, name twice), athanor::Error (disk).
Saved save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {}, SaveOptions options = {});

/// What a safetensors file holds, in the order of its data.
struct Loaded {
  NamedTensors tensors;
  std::map<std::string, std::string> metadata;

  /// The tensor of that name. Throws athanor::Error that names the nearest one there is.
  [[nodiscard]] const at::Tensor& at(const std::string& name) const;
  [[nodiscard]] bool contains(const std::string& name) const;
};

/// Maps a file into memory: tensors are read when touched, may be written to (the file stays as it is), and live on
/// after the file is replaced or removed. A file that another program shortens meanwhile must not be used.
/// Throws athanor::Error if the file is not whole; see core::read_safetensors_header.
Loaded load_safetensors(const std::filesystem::path& path);

}  // namespace athanor::store
