#pragma once
#include <string_view>

#include "athanor/allocator/Snapshot.h"

namespace athanor::allocator {

/// Reads a JSON dump of a snapshot, or the memory events of a PyTorch profiler trace. Throws athanor::Error.
Snapshot parse_json(std::string_view bytes);

}  // namespace athanor::allocator
