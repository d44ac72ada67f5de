#pragma once
#include <filesystem>

#include "athanor/report/Run.h"

namespace athanor::report {

/// Adds what metrics.csv holds (step,epoch,split,name,value) to a run. A last row without its newline is still being
/// written and left out; rows that are not of the format are counted as a problem. A step before the one before, as
/// after a crash and a resume from an older checkpoint, replaces what came after it.
void read_metrics(const std::filesystem::path& path, Run& run);

}  // namespace athanor::report
