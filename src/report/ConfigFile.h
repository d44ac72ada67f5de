#pragma once
#include <string_view>
#include <vector>

#include "athanor/report/Run.h"

namespace athanor::report {

/// The lines of a resolved configuration (core::Config::resolved) in order: key = value  # where it is from. Lines of
/// another form are passed over.
std::vector<Setting> read_settings(std::string_view toml);

}  // namespace athanor::report
