#pragma once
#include <cstddef>
#include <span>
#include <string>

#include "athanor/report/Run.h"

namespace athanor::report {

struct PageOptions {
  std::size_t points = 60000;    ///< Drawn in all; series that are longer in sum are thinned without losing extremes.
  double refresh_seconds = 0.0;  ///< > 0: the page loads itself again, for a run that goes on.
  std::string made = {};         ///< When it was made, for the foot of the page.
};

/// One self-contained HTML page of one or several runs: no network, no file beside it, works from a file. Curves,
/// figures, settings with where they are from, environment. Throws std::invalid_argument without runs or points < 8.
std::string page(std::span<const Run> runs, const PageOptions& options = {});

}  // namespace athanor::report
