#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "athanor/allocator/Snapshot.h"

namespace athanor::allocator {
namespace {

std::size_t mix(std::size_t seed, std::uint64_t value) {
  seed = (seed ^ value) * 0x9e3779b97f4a7c15ULL;
  return seed ^ (seed >> 32);
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

Frames::Frames() {
  begins_.push_back(0);
  stack(std::span<const std::uint32_t>());
}

std::uint32_t Frames::text(std::string_view text) {
  const std::size_t hash = std::hash<std::string_view>{}(text);
  const auto [from, to] = text_index_.equal_range(hash);
  for (auto it = from; it != to; ++it)
    if (texts_[it->second] == text) return it->second;
  const auto id = static_cast<std::uint32_t>(texts_.size());
  texts_.emplace_back(text);
  text_index_.emplace(hash, id);
  return id;
}

std::uint32_t Frames::frame(std::string_view file, std::int64_t line, std::string_view function) {
  const auto bounded = static_cast<std::int32_t>(std::clamp<std::int64_t>(line, -1, 0x7fffffff));
  return frame({text(file), text(function), bounded});
}

std::uint32_t Frames::frame(Frame frame) {
  const std::size_t hash = mix(mix(frame.file, frame.function), static_cast<std::uint64_t>(frame.line));
  const auto [from, to] = frame_index_.equal_range(hash);
  for (auto it = from; it != to; ++it)
    if (frames_[it->second] == frame) return it->second;
  const auto id = static_cast<std::uint32_t>(frames_.size());
  frames_.push_back(frame);
  frame_index_.emplace(hash, id);
  return id;
}

std::uint32_t Frames::stack(std::span<const std::uint32_t> frames) {
  std::size_t hash = frames.size();
  for (const std::uint32_t id : frames) hash = mix(hash, id);
  const auto [from, to] = stack_index_.equal_range(hash);
  for (auto it = from; it != to; ++it)
    if (std::ranges::equal(stack(it->second), frames)) return it->second;
  const auto id = static_cast<std::uint32_t>(stacks());
  members_.insert(members_.end(), frames.begin(), frames.end());
  begins_.push_back(members_.size());
  stack_index_.emplace(hash, id);
  return id;
}

std::span<const std::uint32_t> Frames::stack(std::uint32_t id) const {
  return std::span(members_).subspan(begins_[id], begins_[id + 1] - begins_[id]);
}

std::string Frames::culprit(std::uint32_t stack_id) const {
  const auto python = [&](const Frame& f) { return texts_[f.file].ends_with(".py") || texts_[f.file].ends_with(">"); };
  const auto installed = [&](const Frame& f) {
    const std::string& file = texts_[f.file];
    return contains(file, "/site-packages/") || contains(file, "/dist-packages/") || contains(file, "/torch/") ||
           contains(file, "/lib/python3") || contains(file, "\\site-packages\\") || contains(file, "<frozen");
  };
  const auto unwinding = [&](const Frame& f) {
    const std::string& name = texts_[f.function];
    return contains(name, "unwind") || contains(name, "CapturedTraceback") || contains(name, "gather_with_cpp") ||
           contains(name, "CUDACachingAllocator") || texts_[f.file] == "??";
  };
  const Frame* best = nullptr;
  int rank = 0;
  for (const std::uint32_t id : stack(stack_id)) {
    const Frame& candidate = frames_[id];
    const int candidate_rank = python(candidate) ? (installed(candidate) ? 3 : 4) : (unwinding(candidate) ? 1 : 2);
    if (candidate_rank > rank) {
      best = &candidate;
      rank = candidate_rank;
    }
  }
  if (best == nullptr) return "";
  std::string_view file = texts_[best->file];
  if (const auto slash = file.find_last_of("/\\"); slash != std::string_view::npos) file.remove_prefix(slash + 1);
  const std::string& function = texts_[best->function];
  if (file.empty() || file == "??") return function;
  return fmt::format("{}:{} {}", file, best->line, function);
}

std::uint32_t Snapshot::stream_index(Stream stream) {
  const auto at = std::find(streams.begin(), streams.end(), stream);
  if (at != streams.end()) return static_cast<std::uint32_t>(at - streams.begin());
  streams.push_back(stream);
  return static_cast<std::uint32_t>(streams.size() - 1);
}

std::uint32_t Snapshot::pool_index(PoolId pool) {
  const auto at = std::find(pools.begin(), pools.end(), pool);
  if (at != pools.end()) return static_cast<std::uint32_t>(at - pools.begin());
  pools.push_back(pool);
  return static_cast<std::uint32_t>(pools.size() - 1);
}

}  // namespace athanor::allocator
