#include "athanor/gpu/Nvml.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "athanor/core/Terminal.h"
#include "gpu/ProcessName.h"
#include "gpu/nvml/Library.h"
#include "gpu/nvml/Processes.h"

namespace athanor::gpu {
namespace {

using nvml::Api;
using nvml::Count;
using nvml::Device;
using nvml::kSuccess;
using nvml::Return;

constexpr Count kMostCards = 1024;

Bytes bytes(nvml::Long count) {
  return {static_cast<std::int64_t>(std::min<nvml::Long>(count, INT64_MAX))};
}

// A query with one number for an answer; nullopt where there is none.
std::optional<Count> ask(Return (*query)(Device, Count*), Device device) {
  Count answer = 0;
  if (query == nullptr || query(device, &answer) != kSuccess) return std::nullopt;
  return answer;
}

std::optional<int> whole(std::optional<Count> answer) {
  if (!answer) return std::nullopt;
  return static_cast<int>(std::min<Count>(*answer, INT32_MAX));
}

std::optional<double> from_milliwatts(std::optional<Count> answer) {
  if (!answer) return std::nullopt;
  return *answer / 1000.0;
}

template <std::size_t Length>
std::string text(const std::array<char, Length>& buffer) {
  return core::printable(std::string(buffer.data(), strnlen(buffer.data(), Length)));
}

std::string ask_text(Return (*query)(Device, char*, Count), Device device) {
  std::array<char, nvml::kNameLength> buffer{};
  if (query == nullptr || query(device, buffer.data(), nvml::kNameLength) != kSuccess) return "";
  return text(buffer);
}

std::optional<int> clock(Return (*query)(Device, int, Count*), Device device, int which) {
  Count answer = 0;
  if (query == nullptr || query(device, which, &answer) != kSuccess) return std::nullopt;
  return static_cast<int>(answer);
}

Return read_memory(const Api& api, Device device, Card& card) {
  nvml::MemoryV2 second;
  second.version = nvml::struct_version<nvml::MemoryV2>(2);
  if (api.memory_v2 != nullptr && api.memory_v2(device, &second) == kSuccess) {
    card.memory_total = bytes(second.total);
    card.memory_used = bytes(second.used);
    card.memory_free = bytes(second.free);
    card.memory_reserved = bytes(second.reserved);
    return kSuccess;
  }
  nvml::Memory first;
  const Return result = api.memory != nullptr ? api.memory(device, &first) : nvml::kFunctionNotFound;
  if (result != kSuccess) return result;
  card.memory_total = bytes(first.total);
  card.memory_used = bytes(first.used);
  card.memory_free = bytes(first.free);
  return kSuccess;
}

void read_activity(const Api& api, Device device, Card& card) {
  nvml::Utilization utilization;
  if (api.utilization != nullptr && api.utilization(device, &utilization) == kSuccess) {
    card.busy_percent = static_cast<int>(std::min(utilization.gpu, 100u));
    card.memory_busy_percent = static_cast<int>(std::min(utilization.memory, 100u));
  }
  nvml::TemperatureV1 temperature;
  temperature.version = nvml::struct_version<nvml::TemperatureV1>(1);
  Count celsius = 0;
  if (api.temperature_v != nullptr && api.temperature_v(device, &temperature) == kSuccess)
    card.celsius = temperature.celsius;
  else if (api.temperature != nullptr && api.temperature(device, nvml::kTemperatureGpu, &celsius) == kSuccess)
    card.celsius = static_cast<int>(celsius);
  card.watts = from_milliwatts(ask(api.power, device));
  card.watts_limit = from_milliwatts(ask(api.power_limit, device));
  card.sm_megahertz = clock(api.clock, device, nvml::kClockSm);
  card.sm_megahertz_max = clock(api.max_clock, device, nvml::kClockSm);
  card.memory_megahertz = clock(api.clock, device, nvml::kClockMemory);
  nvml::Long reasons = 0;
  if (api.slow_reasons == nullptr || api.slow_reasons(device, &reasons) != kSuccess) return;
  if ((reasons & nvml::kSlowPowerCap) != 0) card.slowed_by.emplace_back("power cap");
  if ((reasons & (nvml::kSlowThermal | nvml::kSlowHardwareThermal)) != 0) card.slowed_by.emplace_back("heat");
  if ((reasons & nvml::kSlowPowerBrake) != 0)
    card.slowed_by.emplace_back("power brake");
  else if ((reasons & nvml::kSlowHardware) != 0 && (reasons & nvml::kSlowHardwareThermal) == 0)
    card.slowed_by.emplace_back("hardware");
}

void read_bus_and_ecc(const Api& api, Device device, Card& card) {
  nvml::PciInfo pci;
  if (api.pci != nullptr && api.pci(device, &pci) == kSuccess)
    card.bus_id = fmt::format("{:04x}:{:02x}:{:02x}.0", pci.domain, pci.bus, pci.device);
  card.pcie_generation = whole(ask(api.pcie_generation, device));
  card.pcie_width = whole(ask(api.pcie_width, device));
  card.pcie_generation_max = whole(ask(api.max_pcie_generation, device));
  card.pcie_width_max = whole(ask(api.max_pcie_width, device));
  Count current = 0, pending = 0;
  if (api.ecc_mode != nullptr && api.ecc_mode(device, &current, &pending) == kSuccess) card.ecc = current != 0;
  nvml::Long errors = 0;
  if (card.ecc == true && api.ecc_errors != nullptr &&
      api.ecc_errors(device, nvml::kUncorrected, nvml::kVolatile, &errors) == kSuccess)
    card.ecc_uncorrected = errors;
}

void read_slices(const Api& api, Device device, Card& card) {
  Count current = 0, pending = 0;
  if (api.mig_mode == nullptr || api.mig_mode(device, &current, &pending) != kSuccess) return;
  card.mig = current != 0;
  if (current == 0 || api.mig_device == nullptr) return;
  const Count most = std::min(ask(api.max_mig_devices, device).value_or(0), 64u);
  for (Count i = 0; i < most; ++i) {
    Device part = nullptr;
    if (api.mig_device(device, i, &part) != kSuccess) continue;  // slots need not be filled in order
    Card reading;
    read_memory(api, part, reading);
    card.slices.push_back({.index = i,
                           .gpu_instance = ask(api.gpu_instance, part).value_or(0),
                           .compute_instance = ask(api.compute_instance, part).value_or(0),
                           .name = ask_text(api.name, part),
                           .uuid = ask_text(api.uuid, part),
                           .memory_total = reading.memory_total.value_or(Bytes{}),
                           .memory_used = reading.memory_used.value_or(Bytes{})});
  }
}

void add_processes(const std::vector<nvml::ProcessRecord>& records, bool graphics, Card& card) {
  for (const auto& record : records) {
    const auto same = [&](const Process& other) { return other.pid == record.pid; };
    if (std::any_of(card.processes.begin(), card.processes.end(), same)) continue;  // computes and draws: listed once
    Process process;
    process.pid = record.pid;
    process.user = user_of(record.pid);
    process.command = command_of(record.pid);
    if (record.used_bytes != nvml::kLongNotAvailable) process.memory = bytes(record.used_bytes);
    process.graphics = graphics;
    if (record.gpu_instance != nvml::kNoInstance) process.mig_instance = record.gpu_instance;
    card.processes.push_back(std::move(process));
  }
}

void read_processes(const nvml::Library& library, Device device, Card& card) {
  std::vector<nvml::ProcessRecord> records;
  const Return result = nvml::list_processes(library.api().compute_processes, device, records);
  add_processes(records, false, card);
  nvml::list_processes(library.api().graphics_processes, device, records);
  add_processes(records, true, card);
  if (result == nvml::kNoPermission) card.problem = "processes: " + library.words(result);
  std::stable_sort(card.processes.begin(), card.processes.end(), [](const Process& a, const Process& b) {
    return a.memory.value_or(Bytes{-1}) > b.memory.value_or(Bytes{-1});
  });
}

Card read_card(const nvml::Library& library, Count index) {
  const Api& api = library.api();
  Card card;
  card.index = index;
  Device device = nullptr;
  if (const Return result = api.device_by_index(index, &device); result != kSuccess) {
    card.problem = library.words(result);
    return card;
  }
  card.name = ask_text(api.name, device);
  card.uuid = ask_text(api.uuid, device);
  read_bus_and_ecc(api, device, card);
  if (const Return result = read_memory(api, device, card); result != kSuccess) {
    card.problem = result == nvml::kGpuIsLost ? library.words(result) : "memory: " + library.words(result);
    if (result == nvml::kGpuIsLost) return card;
  }
  read_activity(api, device, card);
  read_slices(api, device, card);
  read_processes(library, device, card);
  return card;
}

std::vector<std::string> standard_libraries() {
  if (const char* own = std::getenv("ATHANOR_NVML"); own != nullptr && *own != '\0') return {own};
  return {"libnvidia-ml.so.1", "libnvidia-ml.so"};
}

}  // namespace

struct Nvml::Session {
  std::unique_ptr<nvml::Library> library;
};

Nvml::Nvml() : Nvml(standard_libraries()) {}

Nvml::Nvml(const std::vector<std::string>& libraries) {
  if (auto library = nvml::Library::open(libraries, reason_))
    library_ = std::make_unique<Session>(Session{std::move(library)});
}

Nvml::~Nvml() = default;
Nvml::Nvml(Nvml&&) noexcept = default;
Nvml& Nvml::operator=(Nvml&&) noexcept = default;

Reading Nvml::read() const {
  Reading reading;
  reading.message = reason_;
  if (!library_) return reading;
  const nvml::Library& library = *library_->library;
  const Api& api = library.api();
  std::array<char, nvml::kDriverLength> driver{};
  if (api.driver_version != nullptr && api.driver_version(driver.data(), nvml::kDriverLength) == kSuccess)
    reading.driver = text(driver);
  if (int cuda = 0; api.cuda_version != nullptr && api.cuda_version(&cuda) == kSuccess)
    reading.cuda = fmt::format("{}.{}", cuda / 1000, cuda % 1000 / 10);
  Count count = 0;
  if (const Return result = api.device_count(&count); result != kSuccess) {
    reading.message = "the NVIDIA driver does not count its cards: " + library.words(result);
    return reading;
  }
  for (Count i = 0; i < std::min(count, kMostCards); ++i) reading.cards.push_back(read_card(library, i));
  if (count == 0) reading.message = "the NVIDIA driver is loaded but sees no card";
  return reading;
}

std::optional<Bytes> Nvml::own_memory(const std::string& bus_id) const {
  if (!library_) return std::nullopt;
  const Api& api = library_->library->api();
  Count count = 0;
  if (api.device_count(&count) != kSuccess) return std::nullopt;
  std::optional<Bytes> sum;
  for (Count i = 0; i < std::min(count, kMostCards); ++i) {
    Device device = nullptr;
    if (api.device_by_index(i, &device) != kSuccess) continue;
    Card card;
    if (!bus_id.empty()) read_bus_and_ecc(api, device, card);
    if (card.bus_id != bus_id) continue;
    std::vector<nvml::ProcessRecord> records;
    if (nvml::list_processes(api.compute_processes, device, records) != kSuccess) continue;
    for (const auto& record : records)
      if (record.pid == static_cast<Count>(getpid()) && record.used_bytes != nvml::kLongNotAvailable)
        sum = sum.value_or(Bytes{}) + bytes(record.used_bytes);
  }
  return sum;
}

}  // namespace athanor::gpu
