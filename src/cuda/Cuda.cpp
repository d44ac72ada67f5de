#include "athanor/cuda/Cuda.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <mutex>
#include <stdexcept>

#include "athanor/core/Error.h"
#include "athanor/core/Nearest.h"

namespace athanor::cuda {
namespace {

// The folder that libtorch_cpu was loaded from; libtorch_cuda must be of the same build.
std::string torch_folder() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&at::globalContext), &info) == 0 || !info.dli_fname) return "";
  const std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

Status load_once() {
  if (!::dlopen("libcuda.so.1", RTLD_LAZY))
    return {0, "no NVIDIA driver (libcuda.so.1) is installed; device = \"cpu\" trains without one"};
  if (!::dlopen((torch_folder() + "libtorch_cuda.so").c_str(), RTLD_NOW | RTLD_GLOBAL))
    return {0, std::string("this LibTorch has no usable CUDA part: ") + ::dlerror()};
  const int devices = at::detail::getCUDAHooks().deviceCount();
  if (devices == 0) return {0, "the NVIDIA driver lists no device"};
  return {devices, ""};
}

c10::DeviceAllocator* allocator() {
  return dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(c10::kCUDA));
}

Bytes bytes(std::int64_t count) {
  return {count};
}

}  // namespace

Status load() {
  static std::once_flag once;
  static Status status;
  std::call_once(once, [] { status = load_once(); });
  return status;
}

c10::Device resolve(const std::string& name) {
  if (name == "cpu") return c10::kCPU;
  const bool automatic = name == "auto";
  int index = 0;
  if (name.starts_with("cuda:") && name.size() > 5 && name.size() < 9 &&
      name.find_first_not_of("0123456789", 5) == std::string::npos) {
    index = std::stoi(name.substr(5));
  } else if (!automatic && name != "cuda") {
    const std::array<std::string, 4> names{"auto", "cpu", "cuda", "cuda:1"};
    throw std::invalid_argument("device '" + name + "' is not known" + core::suggestion(name, names));
  }
  const Status status = load();
  if (status.devices == 0) {
    if (automatic) return c10::kCPU;
    throw Error("device '" + name + "' cannot be used: " + status.reason);
  }
  if (index >= status.devices)
    throw std::invalid_argument(fmt::format("device '{}': there are {} CUDA devices, cuda:0 to cuda:{}", name,
                                            status.devices, status.devices - 1));
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

std::string card_name(int index, const std::string& driver) {
  // cuda.h: CUresult, CUdevice and int are int-sized; 0 is success.
  using Init = int (*)(unsigned);
  using DeviceGet = int (*)(int*, int);
  using DeviceGetName = int (*)(char*, int, int);
  void* library = ::dlopen(driver.c_str(), RTLD_LAZY);
  if (!library) return "";
  const auto init = reinterpret_cast<Init>(::dlsym(library, "cuInit"));
  const auto device_get = reinterpret_cast<DeviceGet>(::dlsym(library, "cuDeviceGet"));
  const auto device_get_name = reinterpret_cast<DeviceGetName>(::dlsym(library, "cuDeviceGetName"));
  if (!init || !device_get || !device_get_name) return "";
  int device = 0;
  std::array<char, 256> name{};
  if (init(0) != 0 || device_get(&device, index) != 0) return "";
  if (device_get_name(name.data(), static_cast<int>(name.size()) - 1, device) != 0) return "";
  return name.data();
}

Memory memory(c10::Device device) {
  auto* caching = allocator();
  if (!caching) throw Error("no CUDA allocator is loaded: its memory cannot be read");
  const auto stats = caching->getDeviceStats(device.index());
  constexpr auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  Memory memory{.allocated = bytes(stats.allocated_bytes[all].current),
                .reserved = bytes(stats.reserved_bytes[all].current),
                .peak_allocated = bytes(stats.allocated_bytes[all].peak),
                .peak_reserved = bytes(stats.reserved_bytes[all].peak),
                .free = {},
                .total = {}};
  try {
    const auto [free, total] = caching->getMemoryInfo(device.index());
    memory.free = bytes(static_cast<std::int64_t>(free));
    memory.total = bytes(static_cast<std::int64_t>(total));
  } catch (const c10::NotImplementedError&) {
    // An allocator that cannot ask its device: the two fields stay 0, as documented.
  }
  return memory;
}

void empty_cache() {
  if (auto* caching = allocator(); caching && caching->initialized()) caching->emptyCache();
}

}  // namespace athanor::cuda
