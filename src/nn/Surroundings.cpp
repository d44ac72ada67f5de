#include "nn/Surroundings.h"

#include <ATen/Context.h>

#include <algorithm>
#include <mutex>

namespace athanor::nn {
namespace {

std::vector<at::Device> distinct(const std::vector<at::Device>& devices) {
  std::vector<at::Device> result{at::Device(at::kCPU)};
  for (const auto device : devices)
    if (!device.is_cpu() && device.type() != at::kMeta && std::ranges::find(result, device) == result.end())
      result.push_back(device);
  return result;
}

}  // namespace

Surroundings::Surroundings(const std::vector<at::Device>& devices, bool random)
    : devices_(distinct(devices)), autocast_cache_(at::autocast::is_autocast_cache_enabled()) {
  for (const auto device : devices_) {
    const auto type = device.type();
    autocast_.push_back({type, at::autocast::is_autocast_enabled(type), at::autocast::get_autocast_dtype(type)});
    if (!random) continue;
    auto generator = at::globalContext().defaultGenerator(device);
    const std::lock_guard lock(generator.mutex());
    random_.emplace_back(generator, generator.get_state());
  }
}

void Surroundings::enter() const {
  for (const auto& state : autocast_) {
    at::autocast::set_autocast_enabled(state.device_type, state.enabled);
    at::autocast::set_autocast_dtype(state.device_type, state.dtype);
  }
  at::autocast::set_autocast_cache_enabled(autocast_cache_);
  for (auto [generator, state] : random_) {
    const std::lock_guard lock(generator.mutex());
    generator.set_state(state);
  }
}

SurroundingsScope::SurroundingsScope(const Surroundings& captured, bool random) : before_(captured.devices(), random) {
  at::autocast::increment_nesting();
  captured.enter();
}

SurroundingsScope::~SurroundingsScope() {
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  before_.enter();
}

}  // namespace athanor::nn
