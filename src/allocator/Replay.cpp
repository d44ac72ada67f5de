#include "athanor/allocator/Replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "allocator/Follower.h"
#include "athanor/core/Error.h"

namespace athanor::allocator {
namespace {

Moment moment(const Snapshot& snapshot, const History& history, std::size_t step, const CachingAllocator& model) {
  const auto& trace = snapshot.traces[static_cast<std::size_t>(history.device)];
  return {step, trace[history.steps[step].event].time_us, model.allocated(), model.reserved(), model.stuck()};
}

// Keeps, of each stretch of the history, the moments of most allocated and most reserved.
void sample(std::vector<Moment>& moments, std::size_t stretch, const Moment& now, std::size_t& current) {
  const std::size_t at = now.step / stretch;
  if (moments.size() >= 2 && current == at) {
    if (now.allocated > moments[moments.size() - 2].allocated) moments[moments.size() - 2] = now;
    if (now.reserved > moments.back().reserved) moments.back() = now;
  } else {
    moments.push_back(now);
    moments.push_back(now);
    current = at;
  }
}

void find_holders(const Snapshot& snapshot, const Follower& follower, Replay& result) {
  std::unordered_map<std::uint32_t, std::string> frames;
  std::map<std::pair<std::string, bool>, Holder> by_frame;
  for (const auto& held : follower.blocks()) {
    if (held.model == held.nowhere) continue;
    const auto block = follower.model().block(held.model);
    if (!block) continue;
    result.stacks_at_peak[held.model] = held.stack;
    auto [frame, is_new] = frames.try_emplace(held.stack);
    if (is_new) frame->second = snapshot.frames.culprit(held.stack);
    Holder& holder = by_frame[{frame->second, frame->second.empty() && held.older}];
    holder.frame = frame->second;
    holder.older = frame->second.empty() && held.older;
    holder.bytes += block->size;
    ++holder.blocks;
  }
  for (auto& [frame, holder] : by_frame) result.holders.push_back(holder);
  std::ranges::stable_sort(result.holders, std::greater{}, &Holder::bytes);
}

}  // namespace

Replay replay(const Snapshot& snapshot, const History& history, std::size_t samples) try {
  Replay result;
  Follower follower(history);
  const std::size_t stretch = std::max<std::size_t>(1, history.steps.size() / std::max<std::size_t>(1, samples / 2));
  std::size_t current = ~std::size_t{0};
  for (std::size_t i = 0; i < history.steps.size(); ++i) {
    follower.step(i);
    result.recorded_ooms += history.steps[i].kind == Step::oom;
    const Moment now = moment(snapshot, history, i, follower.model());
    if (i == 0 || now.allocated > result.peak.allocated) result.peak = now;
    sample(result.moments, stretch, now, current);
  }
  follower.finish();
  result.fidelity = follower.fidelity;
  const Statistics statistics = follower.model().statistics();
  result.peak_allocated = statistics.allocated_bytes.all.peak;
  result.peak_requested = statistics.requested_bytes.all.peak;
  result.peak_reserved = statistics.reserved_bytes.all.peak;
  std::ranges::stable_sort(result.moments, {}, &Moment::step);

  Follower again(history);
  for (std::size_t i = 0; i < history.steps.size() && i <= result.peak.step; ++i) again.step(i);
  result.segments_at_peak = again.model().segments();
  find_holders(snapshot, again, result);
  return result;
} catch (const std::invalid_argument& error) {
  throw Error(fmt::format("the snapshot contradicts itself: {}", error.what()));
}

}  // namespace athanor::allocator
