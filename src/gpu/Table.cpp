#include "athanor/gpu/Table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Config.h"
#include "athanor/core/Nearest.h"

namespace athanor::gpu {

extern const char* const kBuiltinTable;  // made from share/gpus.toml at build time

namespace {

constexpr std::size_t kFileLimit = 1 << 20;

// What of a name tells cards apart: lower case, without spacing and the maker's words.
std::string key_of(std::string_view name) {
  std::string words;
  for (const char c : name) words += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const std::string_view noise : {"nvidia", "geforce", "tesla", "generation", "graphics", "gpu"})
    for (auto at = words.find(noise); at != std::string::npos; at = words.find(noise)) words.erase(at, noise.size());
  std::string key;
  for (const char c : words)
    if (std::isalnum(static_cast<unsigned char>(c))) key += c;
  // "RTX 4090" and "4090" are one card, as are "3090 24GB" and "3090": the size is told apart by aliases alone.
  return key;
}

bool matches(const Gpu& gpu, const std::string& key) {
  if (key_of(gpu.name) == key) return true;
  return std::any_of(gpu.aliases.begin(), gpu.aliases.end(), [&](const auto& alias) { return key_of(alias) == key; });
}

double positive(const core::Config& row, const std::string& key) {
  const auto value = row.optional_number(key);
  if (!value) row.reject("name", "card has no " + key);
  if (!(*value > 0) || !std::isfinite(*value)) row.reject(key, fmt::format("must be > 0, got {}", *value));
  return *value;
}

std::string required_text(const core::Config& row, const std::string& key) {
  auto value = row.optional_text(key);
  if (!value || value->empty()) row.reject(key, "is missing: every [[gpu]] needs it");
  return *value;
}

int small_integer(const core::Config& table, const std::string& key, int low, int high) {
  const auto value = table.optional_integer(key);
  if (!value) table.reject(key, "is missing: every [[gpu]] needs it");
  if (*value < low || *value > high) table.reject(key, fmt::format("must be {} to {}, got {}", low, high, *value));
  return static_cast<int>(*value);
}

Bytes scaled(double units, double unit) {
  return {static_cast<std::int64_t>(std::llround(units * unit))};
}

void read_compute_capability(const core::Config& row, Gpu& gpu) {
  const std::string text = required_text(row, "compute_capability");
  const char* const end = text.data() + text.size();
  const auto major = std::from_chars(text.data(), end, gpu.compute_capability_major);
  if (major.ec == std::errc() && major.ptr != end && *major.ptr == '.') {
    const auto minor = std::from_chars(major.ptr + 1, end, gpu.compute_capability_minor);
    if (minor.ec == std::errc() && minor.ptr == end) return;
  }
  row.reject("compute_capability", "must be like \"8.9\", got \"" + text + "\"");
}

PeakRates read_rates(const core::Config& table) {
  constexpr double tera = 1e12;
  const auto rate = [&](const char* dtype) {
    const double value = table.number(dtype, 0.0);
    if (!(value >= 0) || !std::isfinite(value)) table.reject(dtype, "must be ≥ 0");
    return value * tera;
  };
  PeakRates peak;
  peak.fp32 = positive(table, "fp32") * tera;
  peak.tf32 = rate("tf32");
  peak.fp16 = rate("fp16");
  peak.bf16 = rate("bf16");
  peak.fp8 = rate("fp8");
  return peak;
}

HostLink read_link(const core::Config& table) {
  if (table.empty()) return {};
  return {.generation = small_integer(table, "generation", 1, 7), .lanes = small_integer(table, "lanes", 1, 16)};
}

void read_context(const core::Config& row, Gpu& gpu) {
  constexpr double bytes_per_thread = 2560.0;  // the rule share/gpus.toml states
  const double estimate = bytes_per_thread * gpu.sm_count * gpu.threads_per_sm;
  constexpr double mib = 1 << 20;
  gpu.context_bytes = scaled(row.number("context_mib", std::round(estimate / mib)), mib);
  if (gpu.context_bytes.count < 0) row.reject("context_mib", "must be ≥ 0");
  gpu.context_source = row.text("context_source", "estimate");
  gpu.context_is_measured = gpu.context_source != "estimate";
}

Gpu read_gpu(const core::Config& row) {
  constexpr double gib = 1 << 30;
  Gpu gpu;
  gpu.name = required_text(row, "name");
  gpu.aliases = row.texts("aliases", {});
  gpu.architecture = row.text("architecture", "");
  gpu.memory = scaled(positive(row, "memory_gib"), gib);
  gpu.usable = scaled(row.number("usable_gib", gpu.memory.gib() * 0.98), gib);
  if (gpu.usable > gpu.memory || gpu.usable.count <= 0) row.reject("usable_gib", "must be > 0 and at most memory_gib");
  gpu.usable_is_seen = row.text("usable_source", "estimate") == "seen";
  read_compute_capability(row, gpu);
  gpu.sm_count = small_integer(row, "sm_count", 1, 4096);
  gpu.threads_per_sm = small_integer(row, "threads_per_sm", 32, 4096);
  gpu.boost_hertz = row.number("boost_mhz", 0.0) * 1e6;
  gpu.bandwidth_bytes_per_second = positive(row, "bandwidth_gb_per_s") * 1e9;
  gpu.peak = read_rates(row.table("tflops"));
  gpu.host_link = read_link(row.table("pcie"));
  read_context(row, gpu);
  gpu.confidence = row.text("confidence", "low");
  gpu.source = row.text("source", "");
  gpu.note = row.text("note", "");
  return gpu;
}

}  // namespace

double HostLink::bytes_per_second() const {
  // Giga-transfers a lane: 2.5, 5 (8b/10b coding), then 8, 16, 32, 64 (128b/130b). PCI Express Base Specification.
  if (generation <= 0) return 0;
  const double transfers = generation == 1 ? 2.5e9 : generation == 2 ? 5e9 : 8e9 * std::exp2(generation - 3);
  const double coding = generation < 3 ? 8.0 / 10.0 : 128.0 / 130.0;
  return transfers * coding / 8.0 * lanes;
}

std::string Gpu::compute_capability() const {
  return fmt::format("{}.{}", compute_capability_major, compute_capability_minor);
}

double Gpu::peak_for(std::string_view dtype) const {
  const std::array<std::pair<std::string_view, double>, 5> rates{
      {{"fp32", peak.fp32}, {"tf32", peak.tf32}, {"fp16", peak.fp16}, {"bf16", peak.bf16}, {"fp8", peak.fp8}}};
  for (const auto& [known, rate] : rates)
    if (known == dtype) return rate > 0 ? rate : peak.fp32;
  throw std::invalid_argument(
      fmt::format("gpu: no rate for dtype '{}': one of fp32, tf32, fp16, bf16, fp8 is meant", dtype));
}

Table Table::builtin() {
  return from_text(kBuiltinTable, "share/gpus.toml");
}

Table Table::from_text(std::string_view toml, const std::string& name) {
  const auto config = core::Config::from_text(toml, name);
  Table table;
  for (const auto& row : config.tables("gpu")) {
    Gpu gpu = read_gpu(row);
    if (const Gpu* other = table.find_if_known(gpu.name))
      row.reject("name", "'" + gpu.name + "' is already the card '" + other->name + "'");
    table.gpus_.push_back(std::move(gpu));
  }
  config.reject_unknown();
  if (table.gpus_.empty()) throw std::invalid_argument(name + ": holds no [[gpu]] tables");
  return table;
}

Table Table::from_file(const std::filesystem::path& path) {
  return from_text(core::read_file(path, kFileLimit), path.string());
}

Table Table::standard() {
  Table table = builtin();
  if (const char* own = std::getenv("ATHANOR_GPUS"); own != nullptr && *own != '\0') table.add(from_file(own));
  return table;
}

void Table::add(const Table& other) {
  for (const Gpu& gpu : other.gpus_) {
    const auto same = std::find_if(gpus_.begin(), gpus_.end(),
                                   [&](const Gpu& mine) { return key_of(mine.name) == key_of(gpu.name); });
    // In front, so that an alias the user gave wins over a built-in one.
    if (same != gpus_.end()) gpus_.erase(same);
    gpus_.insert(gpus_.begin(), gpu);
  }
}

const Gpu* Table::find_if_known(std::string_view name) const {
  const std::string key = key_of(name);
  if (key.empty()) return nullptr;
  for (const std::string& candidate : {key, key.starts_with("rtx") ? key.substr(3) : "rtx" + key})
    for (const Gpu& gpu : gpus_)
      if (matches(gpu, candidate)) return &gpu;
  return nullptr;
}

const Gpu& Table::find(std::string_view name) const& {
  if (const Gpu* gpu = find_if_known(name)) return *gpu;
  const std::string near = nearest_name(key_of(name));
  throw std::invalid_argument(fmt::format(
      "no GPU '{}' in the table{}; `athanor gpus --table` lists all {}, and a TOML file of your own adds one", name,
      near.empty() ? "" : " (did you mean '" + near + "'?)", gpus_.size()));
}

Gpu Table::find(std::string_view name) && {
  return std::as_const(*this).find(name);
}

// Spelling counts without the maker's words, which would drown a digit; else a card whose name holds the same digits
// ("GTX 4090 Ti" means a 4090).
std::string Table::nearest_name(const std::string& key) const {
  if (key.empty()) return "";
  std::vector<std::string> keys;
  std::vector<const Gpu*> owners;
  for (const Gpu& gpu : gpus_) {
    keys.push_back(key_of(gpu.name));
    for (const auto& alias : gpu.aliases) keys.push_back(key_of(alias));
    owners.resize(keys.size(), &gpu);
  }
  if (const std::string near = core::nearest(key, keys); !near.empty())
    return owners[static_cast<std::size_t>(std::find(keys.begin(), keys.end(), near) - keys.begin())]->name;
  std::string digits;
  for (const char c : key)
    if (std::isdigit(static_cast<unsigned char>(c))) digits += c;
  if (digits.size() < 2) return "";
  for (const Gpu& gpu : gpus_)
    if (key_of(gpu.name).find(digits) != std::string::npos) return gpu.name;
  return "";
}

}  // namespace athanor::gpu
