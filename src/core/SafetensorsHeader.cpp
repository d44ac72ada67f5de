#include "athanor/core/SafetensorsHeader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <utility>

#include "athanor/core/Error.h"
#include "core/SafetensorsSax.h"

namespace athanor::core {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian, and so is this reader");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kHeaderLimit = 100'000'000;  // the format's own bound
constexpr std::uint64_t kAlignment = 64;
constexpr std::size_t kDimensionLimit = 64;

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 16> kSizes{{{"BOOL", 1},
                                                                             {"U8", 1},
                                                                             {"I8", 1},
                                                                             {"F8_E5M2", 1},
                                                                             {"F8_E4M3", 1},
                                                                             {"F8_E8M0", 1},
                                                                             {"I16", 2},
                                                                             {"U16", 2},
                                                                             {"F16", 2},
                                                                             {"BF16", 2},
                                                                             {"I32", 4},
                                                                             {"U32", 4},
                                                                             {"F32", 4},
                                                                             {"F64", 8},
                                                                             {"I64", 8},
                                                                             {"U64", 8}}};

// nullopt where the product does not fit.
std::optional<std::uint64_t> product(std::span<const std::int64_t> shape, std::uint64_t size) {
  for (const auto dimension : shape) {
    const auto factor = static_cast<std::uint64_t>(dimension);
    if (factor != 0 && size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / factor)
      return std::nullopt;
    size *= factor;
  }
  return size;
}

std::string problem_of(const SafetensorsEntry& entry, std::uint64_t data_size) {
  const auto size = element_size(entry.dtype);
  if (!size) return "has the unknown dtype '" + entry.dtype + "'";
  if (entry.shape.size() > kDimensionLimit) return "has more than " + std::to_string(kDimensionLimit) + " dimensions";
  if (entry.begin > entry.end || entry.end > data_size)
    return "lies outside the file: bytes " + std::to_string(entry.begin) + " to " + std::to_string(entry.end) + " of " +
           std::to_string(data_size) + " (the file is cut short, or its header is damaged)";
  const auto bytes = product(entry.shape, *size);
  if (!bytes || *bytes != entry.bytes()) return "has a shape that disagrees with its length";
  return "";
}

std::uint64_t checked_length(std::uint64_t length, std::uint64_t file_size, const std::string& name) {
  if (length > kHeaderLimit || length > file_size - kLengthBytes)
    throw Error("cannot read " + name + ": not a safetensors file, or cut short (header of " + std::to_string(length) +
                " bytes in a file of " + std::to_string(file_size) + ")");
  return length;
}

SafetensorsHeader parse(std::string_view json, std::uint64_t file_size, const std::string& name) {
  const auto fail = [&name](const std::string& what) -> void { throw Error("cannot read " + name + ": " + what); };
  SafetensorsHeader header;
  header.data_offset = kLengthBytes + json.size();
  const std::uint64_t data_size = file_size - header.data_offset;
  SafetensorsSax sax(header);
  if (!nlohmann::json::sax_parse(json, &sax)) fail("its header is damaged: " + sax.problem());
  std::sort(header.entries.begin(), header.entries.end(),
            [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t expected = 0;
  for (const auto& entry : header.entries) {
    if (const auto problem = problem_of(entry, data_size); !problem.empty())
      fail("tensor '" + entry.name + "' " + problem);
    if (entry.begin != expected)
      fail("tensor '" + entry.name + "' " + (entry.begin < expected ? "overlaps another" : "follows a hole"));
    expected = entry.end;
  }
  if (expected != data_size)
    fail("its tensors end at byte " + std::to_string(expected) + " of " + std::to_string(data_size));
  return header;
}

}  // namespace

std::int64_t SafetensorsEntry::elements() const {
  std::int64_t count = 1;
  for (const auto dimension : shape) count *= dimension;
  return count;
}

std::optional<std::uint64_t> element_size(std::string_view dtype) {
  for (const auto& [name, size] : kSizes)
    if (name == dtype) return size;
  return std::nullopt;
}

SafetensorsHeader read_safetensors_header(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file || std::filesystem::is_directory(path))
    throw Error("cannot read " + path.string() + ": no such file, or not readable");
  const auto file_size = static_cast<std::uint64_t>(file.tellg());
  file.seekg(0);
  std::uint64_t length = 0;
  if (file_size < kLengthBytes || !file.read(reinterpret_cast<char*>(&length), kLengthBytes))
    throw Error("cannot read " + path.string() + ": not a safetensors file (" + std::to_string(file_size) + " bytes)");
  std::string json(checked_length(length, file_size, path.string()), '\0');
  if (!file.read(json.data(), static_cast<std::streamsize>(json.size())))
    throw Error("cannot read " + path.string() + ": the header could not be read");
  return parse(json, file_size, path.string());
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < kLengthBytes)
    throw Error("cannot read " + name + ": not a safetensors file (" + std::to_string(file.size()) + " bytes)");
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  checked_length(length, file.size(), name);
  return parse({reinterpret_cast<const char*>(file.data()) + kLengthBytes, length}, file.size(), name);
}

std::string format_safetensors_header(std::span<SafetensorsEntry> entries,
                                      const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  std::set<std::string_view> names{"__metadata__"};
  std::uint64_t at = 0;
  for (auto& entry : entries) {
    const auto size = element_size(entry.dtype);
    if (!size) throw std::invalid_argument("safetensors: tensor '" + entry.name + "' has no dtype of the format");
    if (!names.insert(entry.name).second)
      throw std::invalid_argument("safetensors: two tensors are named '" + entry.name + "'");
    entry.begin = at;
    entry.end = at + static_cast<std::uint64_t>(entry.elements()) * *size;
    at = entry.end;
    json.push_back(
        {entry.name, {{"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}}});
  }
  std::string text = json.dump();
  text.resize((kLengthBytes + text.size() + kAlignment - 1) / kAlignment * kAlignment - kLengthBytes, ' ');
  const std::uint64_t length = text.size();
  std::string result(kLengthBytes, '\0');
  std::memcpy(result.data(), &length, kLengthBytes);
  return result + text;
}

}  // namespace athanor::core
