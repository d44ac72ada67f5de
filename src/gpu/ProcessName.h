#pragma once
#include <cstdint>
#include <string>

namespace athanor::gpu {

/// Whose a process is, and its command line with control characters replaced; "" where /proc does not tell.
std::string user_of(std::int64_t pid);
std::string command_of(std::int64_t pid);

}  // namespace athanor::gpu
