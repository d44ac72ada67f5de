#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "athanor/core/Config.h"
#include "athanor/gpu/Table.h"
#include "athanor/models/Registry.h"
#include "athanor/plan/Search.h"
#include "athanor/plan/Text.h"
#include "cli/TrainingRehearsal.h"

namespace athanor::cli {

/// A configuration with more overrides on top of the user's: what the planner varies.
using MakeConfig = std::function<core::Config(std::span<const std::string> overrides)>;

struct PlanRequest {
  MakeConfig config;
  const models::Registry* models = nullptr;
  std::string sample = {};           ///< "3x224x224": one sample, where neither model nor data say it.
  std::string gpu;                   ///< Whose kernels, rates and, without a budget, memory count.
  std::optional<Bytes> budget = {};  ///< Absent: what the GPU has usable.
  std::function<bool(std::int64_t rehearsed)> progress = nullptr;
};

/// What the user's configuration says, and what of it may change: a key that is written is fixed.
struct Question {
  plan::Settings written;
  plan::Space space;
  KnownForm samples;
  bool all_bf16 = false;  ///< precision.parameters
};

/// "10GiB" as the budget that `key` sets, nothing for "auto". Throws std::invalid_argument that names the key.
std::optional<Bytes> parse_budget(const std::string& key, const std::string& text);
/// memory.budget.
std::optional<Bytes> budget_of(const core::Config& config);

/// Throws std::invalid_argument where settings that the user fixed contradict each other, naming both, and for
/// checkpointing of a model that lists no blocks.
Question ask(const PlanRequest& request);

/// One setting rehearsed.
plan::Cost rehearse_setting(const PlanRequest& request, const Question& question, const plan::Settings& settings);

plan::Plan make_plan(const PlanRequest& request, const Question& question);

/// How a plan is put into words.
plan::TextOptions words_for(const PlanRequest& request, const Question& question);

}  // namespace athanor::cli
