#include "gpu/nvml/Library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <initializer_list>

namespace athanor::gpu::nvml {
namespace {

template <class Function>
void look_up(void* handle, Function*& function, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (void* address = dlsym(handle, name)) {
      function = reinterpret_cast<Function*>(address);
      return;
    }
  }
}

void look_up_cards(void* handle, Api& api) {
  look_up(handle, api.device_count, {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"});
  look_up(handle, api.device_by_index, {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"});
  look_up(handle, api.name, {"nvmlDeviceGetName"});
  look_up(handle, api.uuid, {"nvmlDeviceGetUUID"});
  look_up(handle, api.memory, {"nvmlDeviceGetMemoryInfo"});
  look_up(handle, api.memory_v2, {"nvmlDeviceGetMemoryInfo_v2"});
  look_up(handle, api.utilization, {"nvmlDeviceGetUtilizationRates"});
  look_up(handle, api.temperature, {"nvmlDeviceGetTemperature"});
  look_up(handle, api.temperature_v, {"nvmlDeviceGetTemperatureV"});
  look_up(handle, api.power, {"nvmlDeviceGetPowerUsage"});
  look_up(handle, api.power_limit, {"nvmlDeviceGetEnforcedPowerLimit"});
  look_up(handle, api.clock, {"nvmlDeviceGetClockInfo"});
  look_up(handle, api.max_clock, {"nvmlDeviceGetMaxClockInfo"});
  look_up(handle, api.slow_reasons,
          {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"});
  look_up(handle, api.pci, {"nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo"});
  look_up(handle, api.pcie_generation, {"nvmlDeviceGetCurrPcieLinkGeneration"});
  look_up(handle, api.pcie_width, {"nvmlDeviceGetCurrPcieLinkWidth"});
  look_up(handle, api.max_pcie_generation, {"nvmlDeviceGetMaxPcieLinkGeneration"});
  look_up(handle, api.max_pcie_width, {"nvmlDeviceGetMaxPcieLinkWidth"});
  look_up(handle, api.ecc_mode, {"nvmlDeviceGetEccMode"});
  look_up(handle, api.ecc_errors, {"nvmlDeviceGetTotalEccErrors"});
}

void look_up_processes_and_mig(void* handle, Api& api) {
  look_up(handle, api.compute_processes,
          {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2",
           "nvmlDeviceGetComputeRunningProcesses"});
  look_up(handle, api.graphics_processes,
          {"nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2",
           "nvmlDeviceGetGraphicsRunningProcesses"});
  look_up(handle, api.mig_mode, {"nvmlDeviceGetMigMode"});
  look_up(handle, api.max_mig_devices, {"nvmlDeviceGetMaxMigDeviceCount"});
  look_up(handle, api.mig_device, {"nvmlDeviceGetMigDeviceHandleByIndex"});
  look_up(handle, api.gpu_instance, {"nvmlDeviceGetGpuInstanceId"});
  look_up(handle, api.compute_instance, {"nvmlDeviceGetComputeInstanceId"});
}

std::string own_words(Return result) {
  switch (result) {
    case kNotSupported:
      return "not supported by this card";
    case kNoPermission:
      return "permission denied";
    case kDriverNotLoaded:
      return "the NVIDIA driver is not loaded";
    case kGpuIsLost:
      return "the card has fallen off the bus";
    case kLibraryMismatch:
      return "driver and library versions differ: reboot, or reload the driver";
    default:
      return "";
  }
}

}  // namespace

Library::Library(void* handle) : handle_(handle) {
  look_up(handle, api_.init, {"nvmlInit_v2", "nvmlInit"});
  look_up(handle, api_.shutdown, {"nvmlShutdown"});
  look_up(handle, api_.error_string, {"nvmlErrorString"});
  look_up(handle, api_.driver_version, {"nvmlSystemGetDriverVersion"});
  look_up(handle, api_.cuda_version, {"nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion"});
  look_up_cards(handle, api_);
  look_up_processes_and_mig(handle, api_);
}

Library::~Library() {
  if (initialised_ && api_.shutdown != nullptr) api_.shutdown();
  dlclose(handle_);
}

std::unique_ptr<Library> Library::open(const std::vector<std::string>& names, std::string& reason) {
  void* handle = nullptr;
  for (const auto& name : names)
    if (handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL); handle != nullptr) break;
  if (handle == nullptr) {
    reason = "no NVIDIA driver here: its library " + (names.empty() ? std::string() : names.front()) + " is not found";
    return nullptr;
  }
  std::unique_ptr<Library> library(new Library(handle));
  const Api& api = library->api_;
  if (api.init == nullptr || api.device_count == nullptr || api.device_by_index == nullptr) {
    reason = "the NVIDIA library that was found lacks NVML's first functions";
    return nullptr;
  }
  if (const Return result = api.init(); result != kSuccess) {
    reason = "the NVIDIA driver does not answer: " + library->words(result);
    return nullptr;
  }
  library->initialised_ = true;
  return library;
}

std::string Library::words(Return result) const {
  if (std::string own = own_words(result); !own.empty()) return own;
  const char* theirs = api_.error_string != nullptr ? api_.error_string(result) : nullptr;
  return theirs != nullptr ? fmt::format("{} (NVML {})", theirs, result) : fmt::format("NVML error {}", result);
}

}  // namespace athanor::gpu::nvml
