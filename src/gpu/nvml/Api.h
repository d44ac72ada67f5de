#pragma once
#include <array>
#include <cstddef>

// What Athanor calls of NVIDIA's management library, declared from its public API reference (NVML API Reference Guide,
// docs.nvidia.com/deploy/nvml-api): the library is opened at run time and its header is never needed. Numbers and
// layouts are the library's binary interface; the comments give the names there.
namespace athanor::gpu::nvml {

using Return = int;               // nvmlReturn_t
using Device = void*;             // nvmlDevice_t, opaque
using Count = unsigned int;       // unsigned int
using Long = unsigned long long;  // unsigned long long

constexpr Return kSuccess = 0;            // NVML_SUCCESS
constexpr Return kNotSupported = 3;       // NVML_ERROR_NOT_SUPPORTED
constexpr Return kNoPermission = 4;       // NVML_ERROR_NO_PERMISSION
constexpr Return kNotFound = 6;           // NVML_ERROR_NOT_FOUND
constexpr Return kInsufficientSize = 7;   // NVML_ERROR_INSUFFICIENT_SIZE
constexpr Return kDriverNotLoaded = 9;    // NVML_ERROR_DRIVER_NOT_LOADED
constexpr Return kFunctionNotFound = 13;  // NVML_ERROR_FUNCTION_NOT_FOUND
constexpr Return kGpuIsLost = 15;         // NVML_ERROR_GPU_IS_LOST
constexpr Return kLibraryMismatch = 18;   // NVML_ERROR_LIB_RM_VERSION_MISMATCH

constexpr Long kLongNotAvailable = ~0ull;   // NVML_VALUE_NOT_AVAILABLE
constexpr Count kNoInstance = 0xFFFFFFFFu;  // of a process that runs on no MIG instance

/// NVML_STRUCT_VERSION: the size of a versioned structure, and its version in the highest byte.
template <class Struct>
constexpr Count struct_version(Count version) {
  return static_cast<Count>(sizeof(Struct)) | version << 24u;
}

struct Memory {  // nvmlMemory_t: `used` counts what the driver reserves too
  Long total = 0, free = 0, used = 0;
};
struct MemoryV2 {  // nvmlMemory_v2_t, since R510: reserved apart from used
  Count version = 0;
  Long total = 0, reserved = 0, free = 0, used = 0;
};
struct Utilization {  // nvmlUtilization_t, percent
  Count gpu = 0, memory = 0;
};
struct TemperatureV1 {  // nvmlTemperature_v1_t, since R560
  Count version = 0;
  int sensor = 0;
  int celsius = 0;
};
struct PciInfo {  // nvmlPciInfo_t; nvmlDeviceGetPciInfo_v2 wrote a shorter one with the same beginning
  std::array<char, 16> bus_id_legacy{};
  Count domain = 0, bus = 0, device = 0, pci_device_id = 0, pci_subsystem_id = 0;
  std::array<char, 32> bus_id{};
};

constexpr int kTemperatureGpu = 0;              // NVML_TEMPERATURE_GPU
constexpr int kClockSm = 1, kClockMemory = 2;   // NVML_CLOCK_SM, NVML_CLOCK_MEM
constexpr int kUncorrected = 1, kVolatile = 0;  // NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC
constexpr Count kNameLength = 96;               // NVML_DEVICE_NAME_V2_BUFFER_SIZE
constexpr Count kUuidLength = 96;               // NVML_DEVICE_UUID_V2_BUFFER_SIZE
constexpr Count kDriverLength = 80;             // NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE

// nvmlClocksThrottleReason…
constexpr Long kSlowPowerCap = 0x4, kSlowHardware = 0x8, kSlowThermal = 0x20, kSlowHardwareThermal = 0x40,
               kSlowPowerBrake = 0x80;

/// The functions, each null where the installed library is too old to have it. The newest version comes first where
/// a name has several with one layout.
struct Api {
  Return (*init)() = nullptr;
  Return (*shutdown)() = nullptr;
  const char* (*error_string)(Return) = nullptr;
  Return (*driver_version)(char*, Count) = nullptr;
  Return (*cuda_version)(int*) = nullptr;
  Return (*device_count)(Count*) = nullptr;
  Return (*device_by_index)(Count, Device*) = nullptr;
  Return (*name)(Device, char*, Count) = nullptr;
  Return (*uuid)(Device, char*, Count) = nullptr;
  Return (*memory)(Device, Memory*) = nullptr;
  Return (*memory_v2)(Device, MemoryV2*) = nullptr;
  Return (*utilization)(Device, Utilization*) = nullptr;
  Return (*temperature)(Device, int, Count*) = nullptr;
  Return (*temperature_v)(Device, TemperatureV1*) = nullptr;
  Return (*power)(Device, Count*) = nullptr;
  Return (*power_limit)(Device, Count*) = nullptr;
  Return (*clock)(Device, int, Count*) = nullptr;
  Return (*max_clock)(Device, int, Count*) = nullptr;
  Return (*slow_reasons)(Device, Long*) = nullptr;
  Return (*pci)(Device, PciInfo*) = nullptr;
  Return (*pcie_generation)(Device, Count*) = nullptr;
  Return (*pcie_width)(Device, Count*) = nullptr;
  Return (*max_pcie_generation)(Device, Count*) = nullptr;
  Return (*max_pcie_width)(Device, Count*) = nullptr;
  Return (*ecc_mode)(Device, Count*, Count*) = nullptr;
  Return (*ecc_errors)(Device, int, int, Long*) = nullptr;
  Return (*compute_processes)(Device, Count*, void*) = nullptr;
  Return (*graphics_processes)(Device, Count*, void*) = nullptr;
  Return (*mig_mode)(Device, Count*, Count*) = nullptr;
  Return (*max_mig_devices)(Device, Count*) = nullptr;
  Return (*mig_device)(Device, Count, Device*) = nullptr;
  Return (*gpu_instance)(Device, Count*) = nullptr;
  Return (*compute_instance)(Device, Count*) = nullptr;
};

}  // namespace athanor::gpu::nvml
