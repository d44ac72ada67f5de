#pragma once
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <span>

#include "athanor/report/Run.h"

namespace athanor::report {

/// What the page's script draws: {title, refresh_seconds, panels: [{title, unit, names, limits, …}], runs: [{name,
/// epochs, clock: {x: steps, y: seconds}, marks, series: [{split, name, n, x, y, mx, my}]}]}. Values are metrics.csv's
/// own; nan and inf are texts.
nlohmann::json page_data(std::span<const Run> runs, std::size_t points);

/// The step with the best value of the metric that run.json names, and what it says of it; nullopt if it names none.
std::optional<std::pair<std::int64_t, std::string>> best_of(const Run& run);

}  // namespace athanor::report
