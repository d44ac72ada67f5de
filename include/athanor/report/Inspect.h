#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "athanor/core/Bytes.h"
#include "athanor/core/SafetensorsHeader.h"

namespace athanor::report {

/// A file of a checkpoint, or a safetensors file by itself.
struct InspectedFile {
  std::string name;  ///< "model.safetensors"
  std::filesystem::path path;
  Bytes size;
  std::vector<core::SafetensorsEntry> tensors;  ///< Empty for other files.
  std::map<std::string, std::string> metadata;
  std::int64_t elements = 0;
  std::int64_t not_finite = 0;  ///< Values that are nan or inf.
  std::string problem;          ///< "" if the file is what it should be.
};

/// A checkpoint or a safetensors file: what it holds, and whether it is whole.
struct Inspection {
  enum class Kind { safetensors, checkpoint, run };
  Kind kind = Kind::safetensors;
  std::filesystem::path path;
  std::optional<std::int64_t> step;
  std::optional<double> metric;  ///< What the checkpoint was ranked by.
  std::vector<InspectedFile> files;
  nlohmann::json state;  ///< state.json of a checkpoint.
  std::vector<std::string> problems;
  std::vector<Inspection> checkpoints;  ///< Of a run directory, the newest first.

  [[nodiscard]] bool whole() const { return problems.empty(); }
  [[nodiscard]] Bytes bytes() const;
};

/// Looks into a safetensors file, a checkpoint (a folder with MANIFEST.json: every file's size and SHA-256 are checked)
/// or a run directory (all its checkpoints; a damaged one is a problem of its own, not of the run). Reads everything
/// once. Throws athanor::Error where there is none of these.
Inspection inspect(const std::filesystem::path& path);

/// How far two tensors of one name are from each other.
struct TensorDifference {
  std::string file = {}, name = {};
  std::string unlike = {};  ///< Not empty: they cannot be compared ("shape 3x4 against 4x3", "only in the first").
  std::string dtypes = {};  ///< "F32 against BF16" where they differ; values are compared all the same.
  double largest = 0;       ///< max |a - b|; inf where only one is nan.
  double relative = 0;      ///< |a - b| / |a|, Euclidean norms.
  std::int64_t differing = 0, elements = 0;
};

struct Comparison {
  std::size_t equal_tensors = 0;              ///< The same to the bit (nan counts as nan).
  std::vector<TensorDifference> differences;  ///< Largest relative difference first.
  std::vector<std::string> state;             ///< Keys of state.json with other values: "epoch: 3 against 4".

  [[nodiscard]] bool equal() const { return differences.empty() && state.empty(); }
};

/// Compares two files or two checkpoints, file by file and tensor by tensor; of a run directory its newest whole
/// checkpoint. Throws athanor::Error where there is nothing to compare.
Comparison compare(const Inspection& first, const Inspection& second);

}  // namespace athanor::report
