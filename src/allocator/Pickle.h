#pragma once
#include <string_view>

#include "athanor/allocator/Snapshot.h"

namespace athanor::allocator {

/// Reads a pickled snapshot (protocols 0 to 5). Only opcodes that make plain values are understood; one that would
/// import or call something is refused by name. Memory is bounded by a small multiple of the input. Throws
/// athanor::Error.
Snapshot parse_pickle(std::string_view bytes);

}  // namespace athanor::allocator
