#pragma once
#include <span>
#include <string>
#include <vector>

#include "athanor/gpu/Table.h"
#include "athanor/plan/Work.h"

namespace athanor::plan {

/// How much of a GPU's peak rates real kernels reach, and what a kernel costs at least. Rules of thumb, the same for
/// all cards: they move estimates up and down together and leave the ranking, which is what the planner needs.
struct RooflineOptions {
  double product_efficiency = 0.65;    ///< Of the peak rate, in matrix products, convolutions and attention.
  double bandwidth_efficiency = 0.80;  ///< Of the memory bandwidth.
  double link_efficiency = 0.80;       ///< Of the bus to the host.
  double kernel_seconds = 3e-6;        ///< The shortest kernel, its start included.
  double launch_seconds = 6e-6;        ///< Between two operators on the host; bounds how fast the GPU can be fed.
};

struct Estimate {
  double seconds = 0;
  double products = 0;   ///< Seconds in operators bounded by arithmetic.
  double memory = 0;     ///< In operators bounded by memory.
  double kernels = 0;    ///< In operators so small that starting them is most of it.
  double launches = 0;   ///< What the host needs; where this is the longest, the GPU waits.
  double transfers = 0;  ///< Over the bus, beside the computing.
  std::int64_t operators = 0;

  Estimate& operator+=(const Estimate& other);
  [[nodiscard]] Estimate times(double factor) const;
  /// "62 % arithmetic, 30 % memory, 8 % small kernels".
  [[nodiscard]] std::string text() const;
};

/// The estimate's own uncertainty: the time of a real step is expected within ± this fraction.
inline constexpr double uncertainty = 0.35;

/// The time that a list of operators takes on a GPU: each the longer of its arithmetic and its traffic (Williams et
/// al., "Roofline", 2009); all together the longest of the GPU's work, the host's launches and the bus.
Estimate roofline(std::span<const Work> work, const gpu::Gpu& gpu, const RooflineOptions& options = {});

}  // namespace athanor::plan
