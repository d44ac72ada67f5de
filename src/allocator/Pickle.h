#pragma once
#include <functional>
#include <string_view>

#include "athanor/allocator/Snapshot.h"

namespace athanor::allocator {

/// Reads a pickled snapshot (protocols 0 to 5). Only opcodes that make plain values are understood; one that would
/// import or call something is refused by name. Memory is bounded by a small multiple of the input. Throws
/// athanor::Error. `consumed`, where given, is told now and then how many bytes will not be looked at again.
Snapshot parse_pickle(std::string_view bytes, const std::function<void(std::size_t)>& consumed = nullptr);

}  // namespace athanor::allocator
