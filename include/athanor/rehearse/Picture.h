#pragma once
#include <string>

#include "athanor/allocator/Snapshot.h"
#include "athanor/core/Terminal.h"
#include "athanor/plot/Chart.h"
#include "athanor/rehearse/Forecast.h"

namespace athanor::rehearse {

/// "5.20 GiB (5.10 GiB to 6.00 GiB)"; one figure where the range shows no more.
std::string sizes(const Range& range);

/// "fits", "does not fit", or that it fits unless CUDA's libraries take more than so much of what they may.
std::string verdict(const Forecast& forecast);

/// Allocated bytes over time, stacked by category, from the set-up to the end; lines mark the steps, the peak and the
/// GPU's usable memory where it is near.
plot::Chart timeline(const Forecast& forecast);

/// The forecast as a person reads it: verdict, peak by category, who holds it, what is uncertain.
std::string describe(const Forecast& forecast, const core::Terminal& terminal);

/// One self-contained HTML file: the timeline to zoom into, categories, modules and operators at any moment, the peak.
std::string page(const Forecast& forecast, const std::string& title);

/// What torch.cuda.memory._dump_snapshot would have written: opens in PyTorch's memory_viz. Each block's stack is its
/// operator, module, phase and step.
allocator::Snapshot snapshot(const Forecast& forecast, const allocator::DeviceOptions& options = {});

}  // namespace athanor::rehearse
