#pragma once
#include <span>
#include <string>
#include <string_view>

namespace athanor::core {

/// The candidate with the smallest edit distance to `name` (case ignored), or "" when none is near enough to be meant.
std::string nearest(std::string_view name, std::span<const std::string> candidates);

/// " (did you mean 'x'?)", or the list of what is allowed where nothing is near: the tail of an error message.
std::string suggestion(std::string_view name, std::span<const std::string> candidates);

}  // namespace athanor::core
