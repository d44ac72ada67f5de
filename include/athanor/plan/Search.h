#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "athanor/core/Bytes.h"
#include "athanor/plan/Settings.h"
#include "athanor/plan/Space.h"

namespace athanor::plan {

/// What a rehearsal of one setting says.
struct Cost {
  Bytes peak_reserved;  ///< Of the caching allocator.
  Bytes process;        ///< With the CUDA context: what counts against the budget.
  double seconds_per_step = 0;
  /// What `process` is made of, by name and bytes ("parameters", …); they add up to it.
  std::vector<std::pair<std::string, Bytes>> parts = {};
};

/// Rehearses one setting. Exceptions come through.
using Step = std::function<Cost(const Settings&)>;

struct Budget {
  Bytes process;            ///< Most that the process may take.
  Settings preferred = {};  ///< What the user runs now: of two equally fast plans the one with fewer changes is taken.
  /// Called after each rehearsal; false ends the search, which then gives the best so far.
  std::function<bool(std::int64_t rehearsed)> progress = nullptr;
};

struct Candidate {
  Settings settings;
  Cost cost;
  bool fits = false;
};

/// What the search found. Every candidate was rehearsed.
struct Plan {
  Bytes budget;
  std::optional<Candidate> chosen;    ///< The fastest that fits.
  std::vector<Candidate> candidates;  ///< Those that fit, fastest first, then those that do not, nearest miss first.
  std::int64_t combinations = 0;      ///< Of the space.
  bool complete = true;               ///< False: `progress` ended the search.

  [[nodiscard]] std::int64_t searched() const { return static_cast<std::int64_t>(candidates.size()); }
  /// The rehearsed setting that exceeds the budget least; null if all fit.
  [[nodiscard]] const Candidate* nearest_miss() const;
};

/// The fastest setting that fits the budget, found by rehearsing as few as possible. The same as trying all, where the
/// space's leaner lists keep their promise: a larger budget then never gives a slower plan. Throws
/// std::invalid_argument for a space without a combination.
Plan search(const Space& space, const Step& step, const Budget& budget);

}  // namespace athanor::plan
