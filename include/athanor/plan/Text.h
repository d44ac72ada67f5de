#pragma once
#include <string>

#include "athanor/core/Terminal.h"
#include "athanor/plan/Search.h"
#include "athanor/plot/Chart.h"

namespace athanor::plan {

struct TextOptions {
  std::string gpu;          ///< Name, for the first line.
  Settings written = {};    ///< What the user's configuration says.
  bool all_bf16 = false;    ///< The model itself is in bf16, whatever `precision` says of autocast.
  std::size_t fitting = 5;  ///< Rows of what fits.
  std::size_t missing = 3;  ///< Rows of the nearest misses.
};

/// The plan for people: a table of the best few and the nearest misses with a memory bar each, what the chosen one
/// changes and at what price.
std::string text(const Plan& plan, const TextOptions& options, const core::Terminal& terminal);

/// Why nothing fits and what would help, in two lines. Only for a plan without a chosen one.
std::string explain_miss(const Plan& plan, const TextOptions& options);

/// Time against memory for all candidates, the frontier of those that nothing beats in both, and the budget.
plot::Chart frontier(const Plan& plan, const std::string& gpu);

}  // namespace athanor::plan
