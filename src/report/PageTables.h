#pragma once
#include <span>
#include <string>

#include "athanor/report/Run.h"

namespace athanor::report {

/// The page's parts that need no script, as HTML: what the runs came to, their problems, the figures of every metric
/// over all points, the settings side by side, and run.json as a table.
std::string heading(std::span<const Run> runs);
std::string figures_table(std::span<const Run> runs);
std::string settings_table(std::span<const Run> runs);
std::string environment_table(std::span<const Run> runs);

}  // namespace athanor::report
