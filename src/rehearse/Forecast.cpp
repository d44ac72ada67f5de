#include "athanor/rehearse/Forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace athanor::rehearse {
namespace {

std::int64_t size_of(const Block& block, Bound bound) {
  switch (bound) {
    case Bound::low:
      return block.low;
    case Bound::high:
      return block.high;
    case Bound::value:
      break;
  }
  return block.requested;
}

void widen(Range& range, std::int64_t value) {
  range.low = std::min(range.low, value);
  range.high = std::max(range.high, value);
}

void widen(Peak& peak, const Replayed& replayed) {
  widen(peak.requested, replayed.requested);
  widen(peak.allocated, replayed.allocated);
  widen(peak.reserved, replayed.reserved);
}

// Where the driver puts segments breaks ties of best fit, and what else the process maps moves them: so several orders
// are tried.
// Every segment gets a slot of a TiB of its own, in an order that the seed shuffles.
allocator::DeviceOptions scattered(allocator::DeviceOptions options, std::uint64_t seed) {
  auto next = std::make_shared<std::uint64_t>(seed);
  options.place = [next](std::int64_t, bool) {
    constexpr std::uint64_t slots = 1 << 20;
    constexpr std::uint64_t odd = 0x9E3779B1;  // an odd factor shuffles the slots without meeting one twice
    constexpr int slot_bits = 40;
    const auto slot = (*next)++ * odd % slots;
    return allocator::Place{(slots + slot) << slot_bits, std::int64_t{1} << slot_bits};
  };
  return options;
}

constexpr std::uint64_t layouts = 4;

Peak peak_of(const Ledger& ledger, const allocator::DeviceOptions& options, std::int64_t context, int device) {
  const auto replayed = replay(ledger, options, Bound::value, device);
  std::int64_t allocated = 0;
  std::int64_t reserved = 0;
  for (const auto& event : ledger.events) {
    if (ledger.blocks[event.block].device != device) continue;
    allocated = std::max(allocated, event.allocated);
    reserved = std::max(reserved, event.reserved);
  }
  Peak peak;
  peak.requested = {replayed.requested, replayed.requested, replayed.requested};
  peak.allocated = {allocated, allocated, allocated};
  peak.reserved = {reserved, reserved, reserved};
  peak.process = {reserved + context, reserved + context, reserved + context};
  // A replay knows of no waiting for other streams or emptied caches: where those mattered, what was recorded stands.
  if (replayed.allocated != allocated || replayed.reserved != reserved) return peak;
  using enum allocator::AddressOrder;
  for (const auto order : {driver, rising, falling}) {
    if (order == options.order) continue;  // that is the replay above
    auto ordered = options;
    ordered.order = order;
    widen(peak, replay(ledger, ordered, Bound::value, device));
  }
  for (std::uint64_t i = 0; i < layouts; ++i)
    widen(peak, replay(ledger, scattered(options, i * 1000), Bound::value, device));
  const bool uncertain = std::any_of(ledger.blocks.begin(), ledger.blocks.end(),
                                     [](const Block& block) { return block.low != block.high; });
  if (uncertain)
    for (const auto bound : {Bound::low, Bound::high}) widen(peak, replay(ledger, options, bound, device));
  peak.process = {peak.reserved.low + context, peak.reserved.value + context, peak.reserved.high + context};
  return peak;
}

std::string text_of(const ValueRead& read) {
  const std::string mend =
      read.op == "aten::equal" && read.assumed == 1
          ? "It is always taken to be so"
          : fmt::format("Another value: rehearse::Options::{}", read.floating ? "floating_values" : "integral_values");
  return fmt::format("{}{}{} read a value off the GPU in step {} ({}{}); a rehearsal has none and said {}. {}.",
                     read.where.empty() ? read.op : read.where, read.where.empty() ? "" : fmt::format(" ({})", read.op),
                     read.module.empty() ? "" : " of " + read.module, read.step, name(read.phase),
                     read.times > 1 ? fmt::format(", {} times in all", read.times) : "", read.assumed, mend);
}

}  // namespace

Replayed replay(const Ledger& ledger, const allocator::DeviceOptions& options, Bound bound, int device) {
  allocator::CachingAllocator model(options);
  std::vector<allocator::Address> addresses(ledger.blocks.size(), 0);
  for (const auto& event : ledger.events) {
    const auto& block = ledger.blocks[event.block];
    if (block.device != device) continue;
    if (event.free)
      model.free(addresses[event.block]);
    else
      addresses[event.block] = model.allocate(size_of(block, bound), block.stream).value_or(0);
  }
  return {model.statistics().requested_bytes.all.peak, model.peak_allocated(), model.peak_reserved()};
}

Forecast forecast_of(Ledger ledger, const gpu::Gpu& gpu, const allocator::DeviceOptions& options, int devices) {
  Forecast forecast;
  forecast.gpu = gpu;
  for (int device = 0; device < devices; ++device) {
    const auto peak = peak_of(ledger, options, gpu.context_bytes.count, device);
    if (device > 0 && peak.process.value <= forecast.peak.process.value) continue;
    forecast.device = device;
    forecast.peak = peak;
  }
  forecast.fits = forecast.peak.process.value <= gpu.usable.count;
  forecast.surely_fits = forecast.peak.process.high <= gpu.usable.count;
  for (const auto& read : ledger.reads) forecast.notes.push_back(text_of(read));
  forecast.notes.insert(forecast.notes.end(), ledger.assumptions.begin(), ledger.assumptions.end());
  if (!ledger.events.empty()) {
    forecast.peak_event = ledger.peak_event(forecast.device);
    const auto& event = ledger.events[forecast.peak_event];
    const auto& block = ledger.blocks[event.block];
    forecast.by_category = ledger.by_category(forecast.peak_event, forecast.device);
    forecast.peak_operator = ledger.operators[block.operator_name];
    forecast.peak_module = ledger.modules[block.module];
    forecast.peak_phase = event.phase;
    forecast.peak_step = event.step;
  }
  forecast.ledger = std::move(ledger);
  return forecast;
}

}  // namespace athanor::rehearse
