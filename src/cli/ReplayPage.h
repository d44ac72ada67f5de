#pragma once
#include <string>
#include <vector>

#include "athanor/allocator/Replay.h"

namespace athanor::cli {

/// Everything `athanor replay` found out, for whoever prints it.
struct ReplayReport {
  std::string file;
  const allocator::Snapshot* snapshot = nullptr;
  const allocator::History* history = nullptr;
  allocator::Replay replay;
  std::int64_t capacity = allocator::unlimited;
  std::vector<allocator::Outcome> outcomes;  ///< The recorded settings first, then --conf if given.
  bool asked = false;                        ///< The second outcome is --conf's.
  allocator::Advice advice;
  std::vector<std::string> notes;
};

/// Allocated, stuck and cached bytes over the history, as one SVG.
std::string memory_over_time(const ReplayReport& report);

/// Every byte reserved at the peak, row by row in the order of addresses: who holds it, what is stuck, what could be
/// given back. One SVG.
std::string segment_map(const ReplayReport& report);

/// Both pictures under each other, as one SVG.
std::string replay_picture(const ReplayReport& report);

/// One self-contained HTML page.
std::string replay_page(const ReplayReport& report);

/// Its frame, or why it has none.
std::string holder_name(const allocator::Holder& holder);

/// Its peak reserved: two figures where they differ with the addresses, as far as one sees.
std::string peak_range(const allocator::Outcome& outcome);

}  // namespace athanor::cli
