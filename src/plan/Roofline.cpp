#include "athanor/plan/Roofline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace athanor::plan {
namespace {

// Shares of a step overlap: the host runs ahead of the GPU, and copies run beside the computing.
double total(const Estimate& e) {
  return std::max({e.products + e.memory + e.kernels, e.launches, e.transfers});
}

}  // namespace

Estimate& Estimate::operator+=(const Estimate& other) {
  products += other.products;
  memory += other.memory;
  kernels += other.kernels;
  launches += other.launches;
  transfers += other.transfers;
  operators += other.operators;
  seconds = total(*this);
  return *this;
}

Estimate Estimate::times(double factor) const {
  Estimate result{0,
                  products * factor,
                  memory * factor,
                  kernels * factor,
                  launches * factor,
                  transfers * factor,
                  static_cast<std::int64_t>(std::llround(static_cast<double>(operators) * factor))};
  result.seconds = total(result);
  return result;
}

std::string Estimate::text() const {
  if (seconds <= 0) return "nothing to do";
  const auto percent = [&](double share) { return std::lround(100 * share / seconds); };
  if (seconds == launches && launches > products + memory + kernels)
    return fmt::format("the GPU waits for the host's {} launches {} % of the time", operators,
                       100 - percent(products + memory + kernels));
  if (seconds == transfers && transfers > products + memory + kernels)
    return fmt::format("the GPU waits for the bus {} % of the time", 100 - percent(products + memory + kernels));
  return fmt::format("{} % arithmetic, {} % memory, {} % small kernels", percent(products), percent(memory),
                     percent(kernels));
}

Estimate roofline(std::span<const Work> work, const gpu::Gpu& gpu, const RooflineOptions& options) {
  Estimate estimate;
  const double bandwidth = gpu.bandwidth_bytes_per_second * options.bandwidth_efficiency;
  const double link = gpu.host_link.bytes_per_second() * options.link_efficiency;
  for (const auto& each : work) {
    const double arithmetic = each.flops > 0 ? each.flops / (gpu.peak_for(each.rate) * options.product_efficiency) : 0;
    const double traffic = each.bytes / bandwidth;
    const double longest = std::max({arithmetic, traffic, options.kernel_seconds});
    if (longest == options.kernel_seconds)
      estimate.kernels += longest;
    else if (longest == arithmetic)
      estimate.products += longest;
    else
      estimate.memory += longest;
    if (link > 0) estimate.transfers += each.host_bytes / link;
    ++estimate.operators;
  }
  estimate.launches = static_cast<double>(estimate.operators) * options.launch_seconds;
  estimate.seconds = total(estimate);
  return estimate;
}

}  // namespace athanor::plan
