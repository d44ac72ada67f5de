#pragma once
#include <ATen/autocast_mode.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

namespace athanor::nn {

/// What a forward pass depends on besides its inputs: random generators and autocast. Captured when made.
class Surroundings {
 public:
  /// `devices` beside the CPU whose generators matter; duplicates are fine. Without `random`, autocast alone.
  Surroundings(const std::vector<at::Device>& devices, bool random);
  /// Puts everything as it was captured.
  void enter() const;
  [[nodiscard]] const std::vector<at::Device>& devices() const { return devices_; }

 private:
  struct Autocast {
    at::DeviceType device_type;
    bool enabled;
    at::ScalarType dtype;
  };
  std::vector<at::Device> devices_;
  std::vector<std::pair<at::Generator, at::Tensor>> random_;
  std::vector<Autocast> autocast_;
  bool autocast_cache_;
};

/// While alive the surroundings are `captured`; afterwards they are what they were before.
class SurroundingsScope {
 public:
  SurroundingsScope(const Surroundings& captured, bool random);
  ~SurroundingsScope();
  SurroundingsScope(const SurroundingsScope&) = delete;
  SurroundingsScope& operator=(const SurroundingsScope&) = delete;

 private:
  Surroundings before_;
};

}  // namespace athanor::nn
