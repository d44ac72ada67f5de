#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "athanor/store/Safetensors.h"

namespace athanor::train {

/// What is saved at one step: tensors by file ("model.safetensors"), and everything that is not a tensor.
struct Checkpoint {
  std::int64_t step = 0;
  std::map<std::string, store::NamedTensors> files = {};
  /// Files that are there already and belong to it (the best weights): linked into it, or copied where links cannot be.
  std::map<std::string, std::filesystem::path> links = {};
  nlohmann::json state = {};
  std::optional<double> metric = {};  ///< The validation metric it is ranked by for keep_best.
};

struct CheckpointOptions {
  std::int64_t keep_last = 2;  ///< The newest that are kept; at least 1.
  std::int64_t keep_best = 1;  ///< Kept besides for their metric.
  bool larger_is_better = false;
  std::int64_t copy_below_bytes = std::int64_t{8}
                                  << 20;  ///< Smaller states are copied; larger are read where they are.
};

/// The folder "checkpoints" of a run. One checkpoint is a folder step-00001234 with its files and MANIFEST.json (size
/// and SHA-256 of each); it is written beside its place, synced, and renamed into it, so it is there whole or not at
/// all. The functions are called from one thread; the writing is done on another.
class CheckpointFolder {
 public:
  /// Creates the folder. Throws std::invalid_argument (options), athanor::Error (disk).
  explicit CheckpointFolder(std::filesystem::path folder, CheckpointOptions options = {});
  /// Waits for what is being written.
  ~CheckpointFolder();
  CheckpointFolder(const CheckpointFolder&) = delete;
  CheckpointFolder& operator=(const CheckpointFolder&) = delete;

  /// Begins to write. The training goes on meanwhile, but must call wait_until_read() before it changes a tensor that
  /// was given (small states are copied and need no waiting). Waits if two before it are still being written; throws
  /// what one failed with.
  void write(Checkpoint checkpoint);
  /// The same for one safetensors file anywhere, atomically; done before a checkpoint that is given afterwards.
  void write_weights(std::filesystem::path path, store::NamedTensors weights,
                     std::map<std::string, std::string> metadata = {});
  void wait_until_read();
  /// Waits until everything is on the disk. Throws athanor::Error if the writing failed; what was there before is then
  /// still there.
  void wait();

  [[nodiscard]] const std::filesystem::path& path() const { return folder_; }

 private:
  struct Writer;
  std::filesystem::path folder_;
  std::unique_ptr<Writer> writer_;
};

/// Where a checkpoint is, read from its name alone.
struct CheckpointPlace {
  std::filesystem::path path;
  std::int64_t step = 0;
};
/// All checkpoints of a folder, the newest first; whole or not. Empty if the folder is not there.
std::vector<CheckpointPlace> list_checkpoints(const std::filesystem::path& folder);

/// Why a checkpoint is not whole (a file missing, cut short, or changed); empty if it is.
std::string damage(const std::filesystem::path& checkpoint);

/// Reads one that is whole. Tensors are mapped, not read. Throws athanor::Error if it is damaged.
Checkpoint read_checkpoint(const std::filesystem::path& checkpoint);

/// The newest that is whole; each damaged one on the way is told to `warn`, by path and what is wrong. nullopt: none.
std::optional<Checkpoint> newest_good(const std::filesystem::path& folder,
                                      const std::function<void(const std::string&)>& warn);

}  // namespace athanor::train
