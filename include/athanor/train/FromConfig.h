#pragma once
#include "athanor/core/Config.h"
#include "athanor/train/Session.h"
#include "athanor/train/Trainer.h"

namespace athanor::train {

/// How many optimizer steps a configuration's run takes, as far as its limits say: what a schedule without a length is
/// stretched over, in steps or, where schedule.interval is "epoch", in epochs. nullopt: no limit is written.
std::optional<std::int64_t> run_length(const core::Config& config, std::int64_t batches_per_epoch);

/// The trainer's settings out of the tables train, early_stopping, checkpoint and log, with the session's parts bound
/// in. early_stopping is on where its table is there. Throws std::invalid_argument with file, line and key.
TrainerOptions trainer_options(const core::Config& config, const Session& session);

}  // namespace athanor::train
