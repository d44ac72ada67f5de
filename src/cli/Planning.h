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
#include "athanor/train/Session.h"

namespace athanor::cli {

/// A configuration with more overrides on top of the user's: what the planner varies.
using MakeConfig = std::function<core::Config(std::span<const std::string> overrides)>;

struct PlanRequest {
  MakeConfig config;
  const models::Registry* models = nullptr;
  std::string gpu;                   ///< Whose kernels, rates and, without a budget, memory count.
  std::optional<Bytes> budget = {};  ///< Absent: what the GPU has usable.
  std::function<bool(std::int64_t rehearsed)> progress = nullptr;
};

/// What the user's configuration says, and what of it may change: a key that is written is fixed.
struct Question {
  plan::Settings written;
  plan::Space space;
  train::SampleForm form;
};

/// Throws std::invalid_argument where settings that the user fixed contradict each other, naming both, and for
/// checkpointing of a model that lists no blocks.
Question ask(const PlanRequest& request);

/// One setting rehearsed.
plan::Cost rehearse_setting(const PlanRequest& request, const Question& question, const plan::Settings& settings);

plan::Plan make_plan(const PlanRequest& request, const Question& question);

}  // namespace athanor::cli
