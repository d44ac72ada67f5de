#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "athanor/core/Bytes.h"

namespace athanor::gpu {

/// A process that holds memory on a card.
struct Process {
  std::int64_t pid = 0;
  std::string user;             ///< "" where the system does not tell (another container, a process just gone).
  std::string command;          ///< As typed, control characters replaced.
  std::optional<Bytes> memory;  ///< nullopt where the driver does not tell (another user's, WSL).
  bool graphics = false;        ///< Draws rather than computes.
  std::optional<unsigned> mig_instance;
};

/// A part of a card that MIG cut off: a device of its own to CUDA.
struct MigSlice {
  unsigned index = 0, gpu_instance = 0, compute_instance = 0;
  std::string name, uuid;
  Bytes memory_total, memory_used;
};

/// One card at one moment. What the card or the driver does not tell is nullopt.
struct Card {
  unsigned index = 0;  ///< NVML's, which is PCI bus order and nvidia-smi's; CUDA's may differ.
  std::string name, uuid, bus_id;
  std::optional<Bytes> memory_total, memory_used, memory_free;
  std::optional<Bytes> memory_reserved;  ///< The driver's own; part of `used` on drivers before R510.
  std::optional<int> busy_percent;       ///< Share of the last sample period with at least one kernel running.
  std::optional<int> memory_busy_percent;
  std::optional<int> celsius;
  std::optional<double> watts, watts_limit;
  std::optional<int> sm_megahertz, sm_megahertz_max, memory_megahertz;
  std::optional<int> pcie_generation, pcie_width, pcie_generation_max, pcie_width_max;
  std::optional<bool> ecc;
  std::optional<std::uint64_t> ecc_uncorrected;  ///< Since the driver was loaded.
  std::vector<std::string> slowed_by;            ///< "power cap", "heat", …: why the clock is held down, if it is.
  std::optional<bool> mig;
  std::vector<MigSlice> slices;
  std::vector<Process> processes;
  std::string problem;  ///< Why the card or a part of the reading is missing: "the card has fallen off the bus".
};

struct Reading {
  std::string driver;   ///< "550.54.14"; "" without a driver.
  std::string cuda;     ///< The newest CUDA the driver knows: "12.4".
  std::string message;  ///< Where there is no driver, or it does not answer: one line that says so.
  std::vector<Card> cards;
};

/// NVIDIA's management library, opened when made. Not thread-safe.
class Nvml {
 public:
  /// Opens libnvidia-ml.so.1, else libnvidia-ml.so; where ATHANOR_NVML is set, that file alone. Never throws for want
  /// of a driver: the reading then says so.
  Nvml();
  explicit Nvml(const std::vector<std::string>& libraries);
  ~Nvml();
  Nvml(Nvml&&) noexcept;
  Nvml& operator=(Nvml&&) noexcept;

  [[nodiscard]] bool available() const { return library_ != nullptr; }
  /// Everything, once. A card that fails is in the list with its problem; the others are read all the same.
  [[nodiscard]] Reading read() const;
  /// What this process holds on the card with that bus id ("0000:4e:00.0") or on all cards together (""); nullopt where
  /// the driver does not tell. Quick enough for every logged step.
  [[nodiscard]] std::optional<Bytes> own_memory(const std::string& bus_id = "") const;

 private:
  struct Session;
  std::unique_ptr<Session> library_;
  std::string reason_;
};

}  // namespace athanor::gpu
