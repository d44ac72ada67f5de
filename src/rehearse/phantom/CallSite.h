#pragma once
#include <string>
#include <vector>

namespace athanor::rehearse::phantom {

/// Return addresses of the calls under way on this thread, innermost first.
std::vector<void*> stack_now();

/// The innermost of them that is the user's own: "train.cpp:42 in main" where the program was compiled with -g and
/// addr2line is there, the function alone where not, "" where even that is unknown. Slow (it may start addr2line).
std::string call_site(const std::vector<void*>& stack);

}  // namespace athanor::rehearse::phantom
