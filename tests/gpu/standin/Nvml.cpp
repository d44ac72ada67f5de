// Stands in for NVIDIA's libnvidia-ml.so.1: answers as the API reference says the real one does, with figures as public
// nvidia-smi listings show them. Built once a variant (room.cmake), as old drivers differ in which functions exist.
#include <cstdint>
#include <cstdio>
#include <cstring>

#ifndef CARDS
#define CARDS 1
#endif

namespace {

constexpr int kSuccess = 0, kInvalid = 2, kNotSupported = 3, kNoPermission = 4, kNotFound = 6, kInsufficient = 7,
              kLost = 15;
constexpr unsigned long long kMiB = 1024ull * 1024;

struct Fake {
  unsigned index;
  bool mig_slice;
};
Fake cards[64];
Fake slices[2] = {{0, true}, {1, true}};
bool initialised = false;

#ifdef CARD_NAME
constexpr const char* kName = CARD_NAME;
#else
constexpr const char* kName = "NVIDIA GeForce RTX 4090";
#endif
#ifdef TOTAL_MIB
constexpr unsigned long long kTotal = TOTAL_MIB * kMiB;
#else
constexpr unsigned long long kTotal = 24564 * kMiB;
#endif
#ifndef DRIVER
#define DRIVER "550.163.01"
#endif

[[maybe_unused]] int lost(void* device) {
#ifdef LOST
  return static_cast<Fake*>(device)->index == LOST ? kLost : kSuccess;
#else
  (void)device;
  return kSuccess;
#endif
}

unsigned long long used(void* device) {
  const Fake& card = *static_cast<Fake*>(device);
  if (card.mig_slice) return (card.index + 1) * 1024 * kMiB;
#ifdef FREEING
  static int calls = 0;
  return ++calls > 2 ? 500 * kMiB : 24000 * kMiB;
#else
  return (512 + 2900ull * card.index) * kMiB;
#endif
}

struct Record16 {
  unsigned pid;
  unsigned long long used;
};
struct Record24 {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance, compute_instance;
};
struct Record32 {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance, compute_instance;
  unsigned long long protected_bytes;
};

// pid 1 is init, which every machine has; 4194305 is above the largest pid Linux gives, so it has no /proc entry.
template <class Record>
int processes(void* device, unsigned* count, Record* records) {
  if (lost(device) != kSuccess) return kLost;
#ifdef DENIED
  return kNoPermission;
#endif
  const unsigned all = static_cast<Fake*>(device)->index == 0 ? 2 : 0;
  const unsigned room = *count;
  *count = all;
  if (room < all) return kInsufficient;
  if (all == 0) return kSuccess;
  Record first{}, second{};
  first.pid = 1;
  first.used = 386 * kMiB;
  second.pid = 4194305;
  second.used = 7000 * kMiB;
  if constexpr (sizeof(Record) > sizeof(Record16)) {
#ifdef MIG
    first.gpu_instance = 7;
    first.compute_instance = 0;
#else
    first.gpu_instance = first.compute_instance = 0xFFFFFFFFu;
#endif
    second.gpu_instance = second.compute_instance = 0xFFFFFFFFu;
  }
#ifdef HIDES_MEMORY
  first.used = second.used = ~0ull;
#endif
  records[0] = first;
  records[1] = second;
  return kSuccess;
}

int write(char* buffer, unsigned length, const char* text) {
  if (length <= std::strlen(text)) return kInsufficient;
  std::strcpy(buffer, text);
  return kSuccess;
}

}  // namespace

extern "C" {

int nvmlInit_v2() {
#ifdef INIT_RESULT
  return INIT_RESULT;
#else
  initialised = true;
  for (unsigned i = 0; i < 64; ++i) cards[i] = {i, false};
  return kSuccess;
#endif
}
int nvmlShutdown() {
  initialised = false;
  return kSuccess;
}
const char* nvmlErrorString(int result) {
  return result == 999 ? "Unknown Error" : "Some Error";
}
int nvmlSystemGetDriverVersion(char* buffer, unsigned length) {
  return write(buffer, length, DRIVER);
}
int nvmlSystemGetCudaDriverVersion_v2(int* version) {
  *version = 12040;
  return kSuccess;
}
int nvmlDeviceGetCount_v2(unsigned* count) {
  if (!initialised) return 1;
  *count = CARDS;
  return kSuccess;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index >= CARDS) return kInvalid;
#ifdef LOST_AT_HANDLE
  if (index == LOST_AT_HANDLE) return kLost;
#endif
  *device = &cards[index];
  return kSuccess;
}
int nvmlDeviceGetName(void* device, char* buffer, unsigned length) {
  if (static_cast<Fake*>(device)->mig_slice) return write(buffer, length, "NVIDIA A100-SXM4-80GB MIG 3g.40gb");
  return lost(device) != kSuccess ? kLost : write(buffer, length, kName);
}
int nvmlDeviceGetUUID(void* device, char* buffer, unsigned length) {
  char text[64];
  const Fake& card = *static_cast<Fake*>(device);
  std::snprintf(text, sizeof(text), "%s-%08x-0000-1111-2222-333344445555", card.mig_slice ? "MIG" : "GPU", card.index);
  return write(buffer, length, text);
}
struct Memory {
  unsigned long long total, free, used;
};
int nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
  if (lost(device) != kSuccess) return kLost;
  // The first version counts what the driver reserves as used.
  const unsigned long long taken = used(device) + 450 * kMiB;
  *memory = {kTotal, kTotal - taken, taken};
  return kSuccess;
}
#ifndef OLD
struct MemoryV2 {
  unsigned version;
  unsigned long long total, reserved, free, used;
};
int nvmlDeviceGetMemoryInfo_v2(void* device, MemoryV2* memory) {
  if (lost(device) != kSuccess) return kLost;
  if (memory->version != (sizeof(MemoryV2) | 2u << 24u)) return 25;
  const unsigned long long taken = used(device);
  const unsigned long long total = static_cast<Fake*>(device)->mig_slice ? 40192 * kMiB : kTotal;
  *memory = {memory->version, total, 450 * kMiB, total - taken - 450 * kMiB, taken};
  return kSuccess;
}
#endif
struct Utilization {
  unsigned gpu, memory;
};
int nvmlDeviceGetUtilizationRates(void* device, Utilization* utilization) {
  if (lost(device) != kSuccess) return kLost;
#ifdef MIG
  return kNotSupported;  // as the API reference says of cards with MIG switched on
#endif
  *utilization = {97 - static_cast<Fake*>(device)->index, 41};
  return kSuccess;
}
#ifdef TEMPERATURE_V
struct TemperatureV1 {
  unsigned version;
  int sensor, celsius;
};
int nvmlDeviceGetTemperatureV(void*, TemperatureV1* temperature) {
  if (temperature->version != (sizeof(TemperatureV1) | 1u << 24u)) return 25;
  temperature->celsius = 33;
  return kSuccess;
}
#else
int nvmlDeviceGetTemperature(void* device, int, unsigned* celsius) {
  *celsius = 60 + static_cast<Fake*>(device)->index;
  return lost(device);
}
#endif
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
#ifdef DENIED
  return kNotSupported;
#endif
  *milliwatts = 401234;
  return lost(device);
}
int nvmlDeviceGetEnforcedPowerLimit(void* device, unsigned* milliwatts) {
  *milliwatts = 450000;
  return lost(device);
}
int nvmlDeviceGetClockInfo(void* device, int which, unsigned* megahertz) {
  *megahertz = which == 2 ? 10501 : 2520;
  return lost(device);
}
int nvmlDeviceGetMaxClockInfo(void* device, int which, unsigned* megahertz) {
  *megahertz = which == 2 ? 10501 : 3105;
  return lost(device);
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void* device, unsigned long long* reasons) {
  *reasons = static_cast<Fake*>(device)->index == 0 ? 0x4 : 0x1;
  return lost(device);
}
struct Pci {
  char legacy[16];
  unsigned domain, bus, device, id, subsystem;
  char bus_id[32];
};
#ifdef OLD
int nvmlDeviceGetPciInfo_v2(void* device, Pci* pci) {
#else
int nvmlDeviceGetPciInfo_v3(void* device, Pci* pci) {
#endif
  pci->domain = 0;
  pci->bus = 0x41 + static_cast<Fake*>(device)->index;
  pci->device = 0;
  return lost(device);
}
int nvmlDeviceGetCurrPcieLinkGeneration(void* device, unsigned* generation) {
  *generation = 4;
  return lost(device);
}
int nvmlDeviceGetCurrPcieLinkWidth(void* device, unsigned* width) {
  *width = 16;
  return lost(device);
}
int nvmlDeviceGetMaxPcieLinkGeneration(void* device, unsigned* generation) {
  *generation = 4;
  return lost(device);
}
int nvmlDeviceGetMaxPcieLinkWidth(void* device, unsigned* width) {
  *width = 16;
  return lost(device);
}
int nvmlDeviceGetEccMode(void* device, unsigned* current, unsigned* pending) {
#ifdef ECC
  *current = *pending = 1;
  return lost(device);
#else
  (void)device;
  (void)current;
  (void)pending;
  return kNotSupported;
#endif
}
int nvmlDeviceGetTotalEccErrors(void* device, int, int, unsigned long long* errors) {
  *errors = 3;
  return lost(device);
}

#ifdef R535
int nvmlDeviceGetComputeRunningProcesses_v3(void* d, unsigned* n, Record32* r) {
  return processes(d, n, r);
}
#elif defined(OLDEST)
int nvmlDeviceGetComputeRunningProcesses(void* d, unsigned* n, Record16* r) {
  return processes(d, n, r);
}
#elif defined(OLD)
int nvmlDeviceGetComputeRunningProcesses_v2(void* d, unsigned* n, Record24* r) {
  return processes(d, n, r);
}
#else
int nvmlDeviceGetComputeRunningProcesses_v3(void* d, unsigned* n, Record24* r) {
  return processes(d, n, r);
}
#endif

#ifdef MIG
int nvmlDeviceGetMigMode(void*, unsigned* current, unsigned* pending) {
  *current = *pending = 1;
  return kSuccess;
}
int nvmlDeviceGetMaxMigDeviceCount(void*, unsigned* count) {
  *count = 7;
  return kSuccess;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void*, unsigned index, void** device) {
  if (index != 0 && index != 2) return kNotFound;
  *device = &slices[index / 2];
  return kSuccess;
}
int nvmlDeviceGetGpuInstanceId(void* device, unsigned* id) {
  *id = 1 + static_cast<Fake*>(device)->index;
  return kSuccess;
}
int nvmlDeviceGetComputeInstanceId(void*, unsigned* id) {
  *id = 0;
  return kSuccess;
}
#endif

}  // extern "C"
