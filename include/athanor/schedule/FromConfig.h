#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "athanor/core/Config.h"
#include "athanor/schedule/ReduceOnPlateau.h"
#include "athanor/schedule/Schedule.h"

namespace athanor::schedule {

/// When a schedule takes its next step.
enum class Interval { step, epoch };

/// What a [schedule] table asks for: a schedule, or the reduction on a plateau.
struct Spec {
  std::variant<Schedule, ReduceOnPlateauOptions> rule;
  Interval interval = Interval::step;  ///< `interval`; a plateau's is its metric's: each validation.
  std::string monitor;                 ///< `monitor`: the metric a plateau watches; empty for a schedule.
};

/// Reads a [schedule] table (keys and defaults: docs/schedules.md). An absent table is `fixed`. `run_steps`, where
/// known, stands for a length (t_max, total_steps) that is not written. Throws std::invalid_argument with file, line
/// and key. Leaves reject_unknown to the caller, who may ask for keys of his own.
Spec spec_from_config(const core::Config& table, std::optional<std::int64_t> run_steps = std::nullopt);

/// The same where only a pure schedule will do: reduce_on_plateau is an error.
Schedule from_config(const core::Config& table, std::optional<std::int64_t> run_steps = std::nullopt);

/// Every kind a configuration can name.
const std::vector<std::string>& kinds();

}  // namespace athanor::schedule
