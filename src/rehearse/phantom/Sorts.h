#pragma once
#include "athanor/rehearse/Rule.h"

namespace athanor::rehearse::phantom {

/// The scratch of cub's radix sort of `count` pairs, alive until the handle goes.
[[nodiscard]] c10::DataPtr sort_pairs_scratch(const Call& call, std::int64_t count, c10::ScalarType key,
                                              c10::ScalarType value);

}  // namespace athanor::rehearse::phantom
