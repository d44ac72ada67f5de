#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace athanor::core {

/// One tensor of a safetensors file: where its bytes stand after the header, row-major, little-endian.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;  ///< As the format writes it: "F32", "BF16", "I64", …
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  ///< Offsets into the data, which follows the header.
  std::uint64_t end = 0;

  [[nodiscard]] std::uint64_t bytes() const { return end - begin; }
  [[nodiscard]] std::int64_t elements() const;
};

/// The header of a safetensors file, in the order of the data. Source: the format's description,
/// https://huggingface.co/docs/safetensors (8 bytes of length, JSON, data without holes).
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
  std::uint64_t data_offset = 0;  ///< Where the data begins in the file.
};

/// Bytes an element of a dtype takes; nullopt for one this library does not know.
std::optional<std::uint64_t> element_size(std::string_view dtype);

/// Reads and checks the header alone: nothing in it is believed before it is checked against the file's size (offsets
/// inside the file, no overlap, no hole, dtype and shape agree with the length), and no more than 100 MB is read.
/// Throws athanor::Error naming the file and what is wrong.
SafetensorsHeader read_safetensors_header(const std::filesystem::path& path);

/// The same for a file in memory (a mapping); `name` stands in the errors.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& name);

/// The first bytes of a file: length and JSON, padded so that the data begins at a multiple of 64. The entries' offsets
/// are set here, in the order given. Throws std::invalid_argument for an unknown dtype or a name used twice.
std::string format_safetensors_header(std::span<SafetensorsEntry> entries,
                                      const std::map<std::string, std::string>& metadata);

}  // namespace athanor::core
