#include <fmt/format.h>

#include <vector>

#include "athanor/allocator/Recorder.h"
#include "athanor/rehearse/Picture.h"

namespace athanor::rehearse {
namespace {

// Innermost first: the operator, its module, the phase and step.
std::uint32_t stack_of(allocator::Frames& frames, const Ledger& ledger, const Block& block) {
  std::vector<std::uint32_t> stack;
  stack.push_back(frames.frame(std::string(name(block.category)), 0, ledger.operators[block.operator_name]));
  if (const auto& module = ledger.modules[block.module]; !module.empty())
    stack.push_back(frames.frame("module", 0, module));
  stack.push_back(frames.frame("phase", block.step, std::string(name(block.phase))));
  return frames.stack(stack);
}

}  // namespace

allocator::Snapshot snapshot(const Forecast& forecast, const allocator::DeviceOptions& options) {
  const auto& ledger = forecast.ledger;
  allocator::CachingAllocator model(options);
  allocator::Recorder recorder(model);
  std::vector<allocator::Address> addresses(ledger.blocks.size(), 0);
  std::int64_t time_us = 0;
  for (const auto& event : ledger.events) {
    const auto& block = ledger.blocks[event.block];
    if (block.device != forecast.device) continue;
    recorder.at(stack_of(recorder.frames(), ledger, block), ++time_us);
    if (event.free)
      model.free(addresses[event.block]);
    else
      addresses[event.block] = model.allocate(block.requested, block.stream).value_or(0);
  }
  auto result = recorder.snapshot(options.settings.text());
  recorder.stop();
  return result;
}

}  // namespace athanor::rehearse
