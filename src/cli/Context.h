#pragma once
#include <iosfwd>
#include <string>

#include "athanor/models/Registry.h"

namespace athanor::cli {

/// What every subcommand is given: where to print, how, and what to return.
struct Context {
  std::string name;                                       ///< The program's, as in its help.
  std::ostream* out = nullptr;                            ///< Results; with --json one JSON document and nothing else.
  std::ostream* err = nullptr;                            ///< Messages for people, progress, warnings.
  models::Registry models = models::Registry::builtin();  ///< And the user's own.
  bool json = false;
  bool quiet = false;
  int exit_code = 0;  ///< 3 where something does not fit, 130/143 where interrupted.
};

}  // namespace athanor::cli
