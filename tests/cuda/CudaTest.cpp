#include "athanor/cuda/Cuda.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "athanor/core/Error.h"

namespace athanor::cuda {
namespace {

bool driver_is_here() {
  return ::dlopen("libcuda.so.1", RTLD_LAZY) != nullptr;
}

TEST(Cuda, NamesResolveToDevices) {
  EXPECT_EQ(resolve("cpu"), c10::Device(c10::kCPU));
  for (const char* bad : {"cudda", "cuda:", "cuda:x", "cuda:-1", "cuda:99999999999", ""})
    EXPECT_THROW(resolve(bad), std::invalid_argument) << bad;
}

TEST(Cuda, WithoutADriverAutoIsTheCpuAndCudaSaysWhy) {
  if (driver_is_here()) GTEST_SKIP() << "a driver is installed";
  EXPECT_EQ(resolve("auto"), c10::Device(c10::kCPU));
  EXPECT_EQ(load().devices, 0);
  try {
    resolve("cuda");
    FAIL() << "cuda without a driver";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("driver"), std::string::npos) << error.what();
  }
  EXPECT_THROW(memory({c10::kCUDA, 0}), Error);
  EXPECT_NO_THROW(empty_cache());
}

TEST(Cuda, WithADriverEveryListedDeviceHasMemory) {
  const Status status = load();
  if (status.devices == 0) GTEST_SKIP() << status.reason;
  for (int index = 0; index < status.devices; ++index)
    EXPECT_GT(memory({c10::kCUDA, static_cast<c10::DeviceIndex>(index)}).total.count, 0);
  EXPECT_THROW(resolve("cuda:" + std::to_string(status.devices)), std::invalid_argument);
}

}  // namespace
}  // namespace athanor::cuda
