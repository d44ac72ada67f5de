#pragma once
#include <cstdint>

#include "athanor/data/Loader.h"
#include "athanor/schedule/RangeTest.h"
#include "athanor/train/Session.h"

namespace athanor::train {

/// A learning-rate range test on a session's own model, loss, precision and accumulation, from a fresh optimizer state.
/// Groups keep the proportions of their rates. Everything is put back, to the bit, also if a step throws: parameters,
/// buffers, optimizer state, rates, scaler, LibTorch's random streams, and the loader's place (`epoch` is the one it is
/// in). The schedule is not asked. Costs a copy of the weights.
schedule::RangeTestResult find_lr(Session& session, data::Loader& loader, std::int64_t epoch,
                                  schedule::RangeTestOptions options = {});

}  // namespace athanor::train
