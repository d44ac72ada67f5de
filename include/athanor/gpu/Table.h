#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/core/Bytes.h"

namespace athanor::gpu {

/// Peak dense rates in operations a second, a multiply-add counting as two; tensor cores with fp32 accumulation.
/// 0 where the dtype has no fast path on the card.
struct PeakRates {
  double fp32 = 0, tf32 = 0, fp16 = 0, bf16 = 0, fp8 = 0;
};

struct HostLink {
  int generation = 0;  ///< PCIe generation; 0 where memory is shared with the CPU.
  int lanes = 0;
  /// Bytes a second one way after line coding: 8 and 16 GT/s a lane and so on; 0 where memory is shared.
  [[nodiscard]] double bytes_per_second() const;
};

/// What one model of GPU is: facts of share/gpus.toml, where each field is explained.
struct Gpu {
  std::string name;
  std::vector<std::string> aliases;
  std::string architecture;
  Bytes memory;         ///< As sold.
  Bytes usable;         ///< What CUDA reports as the whole memory; a process's context comes out of this too.
  bool usable_is_seen;  ///< False: estimated from a card of the same family.
  int compute_capability_major = 0, compute_capability_minor = 0;
  int sm_count = 0;
  int threads_per_sm = 0;  ///< Resident threads.
  double boost_hertz = 0;
  double bandwidth_bytes_per_second = 0;
  PeakRates peak;
  HostLink host_link;
  Bytes context_bytes;       ///< What a process takes before its first tensor.
  bool context_is_measured;  ///< False: the rule of thumb that share/gpus.toml states.
  std::string context_source;
  std::string confidence;  ///< "high" or "low".
  std::string source;
  std::string note;

  [[nodiscard]] std::string compute_capability() const;  ///< "8.9"
  /// The peak rate for "fp32", "tf32", "fp16", "bf16", "fp8": of a dtype without a fast path that of fp32.
  /// Throws std::invalid_argument for another name.
  [[nodiscard]] double peak_for(std::string_view dtype) const;
};

/// The GPUs one knows: those of share/gpus.toml, which is built into the program, and a user's own.
class Table {
 public:
  static Table builtin();
  /// From TOML in the format of share/gpus.toml. Every mistake is a std::invalid_argument that names line and key.
  static Table from_text(std::string_view toml, const std::string& name);
  static Table from_file(const std::filesystem::path& path);
  /// The built-in table and, where the environment variable ATHANOR_GPUS names a file, that one's cards on top.
  static Table standard();

  /// Adds the other's cards; one with a name that is here already replaces it.
  void add(const Table& other);

  /// A card by name or alias; case, spaces, dashes and the words NVIDIA, GeForce, Tesla, Generation do not matter:
  /// "4090", "rtx4090", "NVIDIA GeForce RTX 4090". Throws std::invalid_argument that names the nearest.
  [[nodiscard]] const Gpu& find(std::string_view name) const&;
  [[nodiscard]] Gpu find(std::string_view name) &&;  ///< Of a table that goes away: a copy.
  [[nodiscard]] const Gpu* find_if_known(std::string_view name) const;

  [[nodiscard]] const std::vector<Gpu>& gpus() const { return gpus_; }

 private:
  [[nodiscard]] std::string nearest_name(const std::string& key) const;

  std::vector<Gpu> gpus_;
};

}  // namespace athanor::gpu
