#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>

namespace athanor::report {

/// JSON out of a file that anybody may have written: at most `limit` bytes and 64 levels deep, so that walking it needs
/// no more stack than there is. Discarded where it is larger, deeper, broken or not readable.
nlohmann::json read_json(const std::filesystem::path& path, std::size_t limit);

}  // namespace athanor::report
