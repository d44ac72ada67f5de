#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace athanor::core {

/// Writes a file so that a reader sees the old content or the new, never a part: beside it, synced, renamed into place.
/// Throws athanor::Error with the path and the system's reason (no space, read-only, …); the old file is then
/// untouched.
void write_atomically(const std::filesystem::path& path, std::string_view content);

/// Syncs a folder, so that the renames in it survive a power cut.
void sync_folder(const std::filesystem::path& folder);

/// Reads a whole file of at most `limit` bytes. Throws athanor::Error naming the path and the reason.
std::string read_file(const std::filesystem::path& path, std::size_t limit = std::size_t{1} << 31);

}  // namespace athanor::core
