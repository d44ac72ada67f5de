#include "athanor/allocator/Settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <set>
#include <stdexcept>
#include <vector>

#include "athanor/core/Nearest.h"

namespace athanor::allocator {
namespace {

constexpr std::int64_t kib = 1024;
constexpr std::int64_t mib = 1024 * kib;
constexpr std::int64_t smallest_block = 512;
constexpr std::int64_t largest_small = mib;
constexpr std::int64_t small_segment = 2 * mib;
constexpr std::int64_t smallest_own_segment = 10 * mib;

const std::vector<std::string>& keys_without_effect() {
  static const std::vector<std::string> keys = {"backend",
                                                "release_lock_on_cudamalloc",
                                                "release_lock_on_hipmalloc",
                                                "pinned_use_cuda_host_register",
                                                "pinned_use_hip_host_register",
                                                "pinned_num_register_threads",
                                                "pinned_use_background_threads",
                                                "pinned_reserve_segment_size_mb",
                                                "pinned_max_round_threshold_mb",
                                                "pinned_max_cached_size_mb",
                                                "pinned_free_catch_all",
                                                "graph_capture_record_stream_reuse",
                                                "throw_on_cudamalloc_oom",
                                                "expandable_segments_handle_type",
                                                "expandable_segments_reserve",
                                                "expandable_segments_reserve_by_class"};
  return keys;
}

[[noreturn]] void reject(std::string_view key, std::string_view given, std::string_view allowed) {
  throw std::invalid_argument(fmt::format("PYTORCH_CUDA_ALLOC_CONF: {} must be {}, got '{}'", key, allowed, given));
}

bool truth(std::string_view key, std::string_view text) {
  if (text == "True") return true;
  if (text == "False") return false;
  reject(key, text, "True or False");
}

std::int64_t megabytes(std::string_view key, std::string_view text, std::int64_t at_least) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < at_least)
    reject(key, text, fmt::format("a whole number of MiB, at least {}", at_least));
  return std::min(value, unlimited / mib) * mib;
}

double fraction(std::string_view key, std::string_view text, bool one_allowed) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  if (!whole || !(value > 0 && (value < 1 || (one_allowed && value == 1))))
    reject(key, text, one_allowed ? "above 0 and at most 1" : "above 0 and below 1");
  return value;
}

std::uint32_t power_of_two(std::string_view text, bool zero_allowed) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  if (!whole || !(std::has_single_bit(value) || (zero_allowed && value == 0)))
    reject("roundup_power2_divisions", text, "powers of 2: one for all sizes, or a list like [256:1,512:2,>:8]");
  return value;
}

std::vector<std::string_view> pieces(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  int depth = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '[') ++depth;
    if (i < text.size() && text[i] == ']') --depth;
    if (i == text.size() || (text[i] == separator && depth == 0)) {
      out.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  return out;
}

// "[64:8,128:2,>:1]": sizes below the first bound take its value; each bound (in MiB, a power of 2) sets its own
// interval;
// '>' sets all that follow the last bound.
void set_divisions(std::array<std::uint32_t, 16>& divisions, std::string_view text) {
  if (!text.starts_with('[')) {
    divisions.fill(power_of_two(text, false));
    return;
  }
  if (!text.ends_with(']')) reject("roundup_power2_divisions", text, "a list that ends in ]");
  std::size_t following = 0;
  bool first = true;
  for (const std::string_view piece : pieces(text.substr(1, text.size() - 2), ',')) {
    const auto colon = piece.find(':');
    if (colon == std::string_view::npos) reject("roundup_power2_divisions", piece, "a pair like 256:4");
    const std::uint32_t value = power_of_two(piece.substr(colon + 1), true);
    if (piece.substr(0, colon) == ">") {
      std::fill(divisions.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(following, 16)), divisions.end(),
                value);
      continue;
    }
    const std::uint32_t bound = power_of_two(piece.substr(0, colon), false);
    const auto index = std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(bound)) - 1, 15);
    if (first) std::fill_n(divisions.begin(), index, value);
    first = false;
    divisions[index] = value;
    following = index + 1;
  }
}

void set(Settings& settings, const std::string& key, std::string_view value) {
  if (key == "expandable_segments") {
    settings.expandable_segments = truth(key, value);
  } else if (key == "max_split_size_mb") {
    settings.max_split_size = megabytes(key, value, 1);
  } else if (key == "max_non_split_rounding_mb") {
    settings.max_non_split_rounding = megabytes(key, value, 1);
  } else if (key == "garbage_collection_threshold") {
    settings.garbage_collection_threshold = fraction(key, value, false);
  } else if (key == "roundup_power2_divisions") {
    set_divisions(settings.roundup_power2_divisions, value);
  } else if (key == "large_segment_size_mb") {
    settings.large_segment_size = megabytes(key, value, 11);
  } else if (key == "per_process_memory_fraction") {
    settings.memory_fraction = fraction(key, value, true);
  } else if (key == "backend" && value != "native") {
    reject(key, value, "native (cudaMallocAsync is CUDA's own allocator, which is not modelled)");
  } else if (std::find(keys_without_effect().begin(), keys_without_effect().end(), key) ==
             keys_without_effect().end()) {
    std::vector<std::string> known = keys_without_effect();
    known.insert(known.end(), {"expandable_segments", "max_split_size_mb", "max_non_split_rounding_mb",
                               "garbage_collection_threshold", "roundup_power2_divisions", "large_segment_size_mb",
                               "per_process_memory_fraction"});
    throw std::invalid_argument(
        fmt::format("PYTORCH_CUDA_ALLOC_CONF: unknown key '{}'{}", key, core::suggestion(key, known)));
  }
}

}  // namespace

Settings Settings::parse(std::string_view conf) {
  std::string text(conf);
  std::erase_if(text, [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; });
  Settings settings;
  if (text.empty()) return settings;
  for (const std::string_view piece : pieces(text, ',')) {
    if (piece.empty()) continue;  // PyTorch forgives a comma at the end
    const auto colon = piece.find(':');
    if (colon == std::string_view::npos || colon + 1 == piece.size())
      throw std::invalid_argument(
          fmt::format("PYTORCH_CUDA_ALLOC_CONF: '{}' is not key:value (like expandable_segments:True)", piece));
    set(settings, std::string(piece.substr(0, colon)), piece.substr(colon + 1));
  }
  // Both are bounded by the large segment, which is also the default of the second.
  if (text.find("max_non_split_rounding_mb:") == std::string::npos)
    settings.max_non_split_rounding = settings.large_segment_size;
  const std::int64_t least = settings.large_segment_size;
  const auto at_least = [&](std::string_view key, std::int64_t given) {
    if (given < least)
      reject(key, fmt::to_string(given / mib), fmt::format("at least {}, the large segment's size", least / mib));
  };
  at_least("max_split_size_mb", settings.max_split_size);
  at_least("max_non_split_rounding_mb", settings.max_non_split_rounding);
  return settings;
}

std::string Settings::text() const {
  const Settings defaults;
  std::vector<std::string> parts;
  if (expandable_segments) parts.emplace_back("expandable_segments:True");
  if (max_split_size != defaults.max_split_size)
    parts.push_back(fmt::format("max_split_size_mb:{}", max_split_size / mib));
  if (max_non_split_rounding != large_segment_size)
    parts.push_back(fmt::format("max_non_split_rounding_mb:{}", max_non_split_rounding / mib));
  if (garbage_collection_threshold != 0)
    parts.push_back(fmt::format("garbage_collection_threshold:{}", garbage_collection_threshold));
  if (large_segment_size != defaults.large_segment_size)
    parts.push_back(fmt::format("large_segment_size_mb:{}", large_segment_size / mib));
  if (memory_fraction != 1) parts.push_back(fmt::format("per_process_memory_fraction:{}", memory_fraction));
  if (roundup_power2_divisions != defaults.roundup_power2_divisions) {
    const bool same = std::all_of(roundup_power2_divisions.begin(), roundup_power2_divisions.end(),
                                  [&](std::uint32_t value) { return value == roundup_power2_divisions[0]; });
    std::vector<std::string> pairs;
    for (std::size_t i = 0; i < 16; ++i) pairs.push_back(fmt::format("{}:{}", 1U << i, roundup_power2_divisions[i]));
    parts.push_back(same ? fmt::format("roundup_power2_divisions:{}", roundup_power2_divisions[0])
                         : fmt::format("roundup_power2_divisions:[{}]", fmt::join(pairs, ",")));
  }
  return fmt::format("{}", fmt::join(parts, ","));
}

std::int64_t Settings::rounded(std::int64_t requested) const {
  if (requested < smallest_block) return smallest_block;
  const auto size = static_cast<std::uint64_t>(requested);
  const auto log2 = static_cast<int>(std::bit_width(size)) - 1;
  const std::uint32_t divisions = roundup_power2_divisions[static_cast<std::size_t>(std::clamp(log2 - 20, 0, 15))];
  if (divisions > 1 && requested > smallest_block * divisions) {
    if (std::has_single_bit(size)) return requested;
    const std::uint64_t step = std::bit_floor(size) / divisions;
    return static_cast<std::int64_t>((size + step - 1) / step * step);
  }
  return static_cast<std::int64_t>((size + 511) / 512 * 512);
}

std::int64_t Settings::segment_size(std::int64_t rounded_size) const {
  if (rounded_size <= largest_small) return small_segment;
  if (rounded_size < smallest_own_segment) return large_segment_size;
  return (rounded_size + small_segment - 1) / small_segment * small_segment;
}

}  // namespace athanor::allocator
