#pragma once
#include <string>
#include <vector>

#include "cli/Context.h"

namespace athanor::cli {

/// `athanor train` with memory.budget = SIZE, or memory.checkpointing = "budget": rehearses the configuration before
/// anything is read or made. True if it fits; `overrides` then holds, where the budget chooses, which blocks are
/// checkpointed. False if it does not: the plan that would fit is printed, and the exit code is 3. Without a budget it
/// is true at once. memory.gpu names whose kernels count (default: an A100 80GB).
bool fit_to_budget(const std::string& config, std::vector<std::string>& overrides, Context& context);

}  // namespace athanor::cli
