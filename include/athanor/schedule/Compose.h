#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "athanor/schedule/Schedule.h"

/// Schedules made of schedules. All nest, in each other and in themselves.
namespace athanor::schedule {

/// parts[i] from milestones[i-1] on, each counting its own steps from 0. A milestone is the first step of its part;
/// equal milestones leave a part out. Throws std::invalid_argument if there is no part, if there are not one fewer
/// milestones than parts, if they are negative or fall, or if a part ends before its successor begins.
/// PyTorch: SequentialLR.
Schedule sequential(std::vector<Schedule> parts, std::vector<std::int64_t> milestones);

/// A schedule and how long it lasts.
struct Leg {
  Schedule schedule;
  std::int64_t length = 0;  ///< Steps; >= 0; of no meaning in the last leg, which goes on for ever.
};
/// As `sequential`, told by lengths instead of milestones.
Schedule join(std::vector<Leg> legs);

/// The product of the parts' factors (rate / base rate), all at the same step; momentum is the last part's that moves
/// it. Throws std::invalid_argument if there is no part. PyTorch: ChainedScheduler of chainable schedulers.
Schedule chained(std::vector<Schedule> parts);

enum class NoiseKind { normal, uniform };

struct NoiseOptions {
  double amount = 0.1;  ///< Standard deviation (normal), or half width (uniform), as a part of the rate; > 0.
  double limit = 0.67;  ///< No draw is larger than this; in (0, 1).
  NoiseKind kind = NoiseKind::normal;
  std::uint64_t seed = 0;                                       ///< The draw is a function of (seed, step) alone.
  std::int64_t begin = 0;                                       ///< The first step with noise; >= 0.
  std::int64_t end = std::numeric_limits<std::int64_t>::max();  ///< The first step without noise again; > begin.
};
/// schedule(t) * (1 + draw). Source: the idea of Neelakantan et al., 2015, applied to the rate.
Schedule noise(Schedule schedule, NoiseOptions options = {});

}  // namespace athanor::schedule
