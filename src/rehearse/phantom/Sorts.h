#pragma once
#include "athanor/rehearse/Rule.h"

namespace athanor::rehearse::phantom {

/// The scratch of cub's radix sort of `count` pairs, alive until the handle goes.
[[nodiscard]] c10::DataPtr sort_pairs_scratch(const Call& call, std::int64_t count, c10::ScalarType key,
                                              c10::ScalarType value);

/// The scratch of thrust's sort by key of 64-bit pairs under an order of its own, which merges; and of its removal of
/// equal neighbours. Source: cub's DeviceMergeSort and UniqueByKey.
[[nodiscard]] c10::DataPtr merge_sort_pairs_scratch(std::int64_t count);
[[nodiscard]] c10::DataPtr unique_pairs_scratch(std::int64_t count);

}  // namespace athanor::rehearse::phantom
