#include <algorithm>
#include <map>

#include "allocator/Start.h"

namespace athanor::allocator {
namespace {

/// A set of addresses; stretches that meet are one.
class Stretches {
 public:
  void add(Address begin, std::int64_t size) {
    Address end = begin + static_cast<Address>(size);
    auto next = ends_.lower_bound(begin);
    if (next != ends_.begin() && std::prev(next)->second >= begin) begin = (--next)->first;
    while (next != ends_.end() && next->first <= end) {
      end = std::max(end, next->second);
      next = ends_.erase(next);
    }
    ends_.emplace(begin, end);
  }
  [[nodiscard]] bool touches(Address begin, std::int64_t size) const {
    const auto next = ends_.lower_bound(begin);
    if (next != ends_.begin() && std::prev(next)->second > begin) return true;
    return next != ends_.end() && next->first < begin + static_cast<Address>(size);
  }

 private:
  std::map<Address, Address> ends_;  // begin → end
};

}  // namespace

// The history is there up to some moment, the segments as they were later. What the history itself took or handed out
// was not there at its start; what it never touched may have been, and is taken to be. If it touches nothing that it
// did not take, it began on an empty device, and all else came later.
void forget_what_came_later(History& history) {
  Stretches taken, used;  // used: taken, given back or handed out
  bool began_in_use = false;
  for (const Step& step : history.steps) {
    if (step.kind == Step::oom) continue;
    const bool takes = step.kind == Step::segment_alloc || step.kind == Step::segment_map;
    began_in_use = began_in_use || (!takes && !taken.touches(step.address, 1));
    if (takes) taken.add(step.address, step.size);
    if (step.kind == Step::alloc || step.kind > Step::complete_free) used.add(step.address, step.size);
  }
  if (!began_in_use) {
    history.finish.clear();
    return;
  }
  for (const Step& step : history.steps)
    if (step.kind == Step::segment_free) taken.add(step.address, step.size);
  std::erase_if(history.finish, [&](const Segment& segment) {
    return !segment.expandable && taken.touches(segment.address, segment.size);
  });
  for (Segment& segment : history.finish)
    for (Block& block : segment.blocks)
      if (used.touches(block.address, block.size)) block.state = BlockState::free;
}

}  // namespace athanor::allocator
