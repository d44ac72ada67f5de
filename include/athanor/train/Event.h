#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "athanor/train/Metric.h"

namespace athanor::train {

/// What a trainer tells those who listen. References hold for the call only.
struct Event {
  enum class Kind {
    started,    ///< Before the first step of this run (or after a resume).
    step,       ///< Every log_every_steps optimizer steps; metrics are of training.
    tick,       ///< Between them, at most ten times a second: for a live line. Nothing new was read off the device.
    validated,  ///< metrics are of a validation or test split.
    note,       ///< message is one line worth keeping: a checkpoint, a rate reduced, an early stop.
    finished    ///< The last; metrics are the final ones.
  };
  Kind kind = Kind::note;
  std::int64_t step = 0;         ///< Optimizer steps done.
  std::int64_t epoch = 0;        ///< The current epoch, from 0.
  std::int64_t total_steps = 0;  ///< Of the whole run, as far as it is known; 0: it is not.
  double lr = 0.0;               ///< Of the first parameter group.
  double items_per_second = 0.0;
  double seconds = 0.0;       ///< Since this part of the run began: the whole run, or what followed a resume.
  double seconds_left = 0.0;  ///< Estimated; 0: unknown.
  Metrics metrics = {};       ///< Named split_metric.
  std::string message = {};
};

using Observer = std::function<void(const Event&)>;

}  // namespace athanor::train
