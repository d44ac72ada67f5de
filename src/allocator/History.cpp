#include "athanor/allocator/History.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "allocator/AddressMap.h"
#include "allocator/Start.h"
#include "athanor/core/Bytes.h"
#include "athanor/core/Error.h"

namespace athanor::allocator {
namespace {

constexpr std::string_view how_to_record =
    "Record one: torch.cuda.memory._record_memory_history(), run a few steps, then "
    "torch.cuda.memory._dump_snapshot(\"snapshot.pickle\")";

Step::Kind kind_of(Action action) {
  switch (action) {
    case Action::alloc:
      return Step::alloc;
    case Action::free_requested:
      return Step::request_free;
    case Action::free_completed:
      return Step::complete_free;
    case Action::segment_alloc:
      return Step::segment_alloc;
    case Action::segment_map:
      return Step::segment_map;
    case Action::segment_free:
      return Step::segment_free;
    case Action::segment_unmap:
      return Step::segment_unmap;
    default:
      return Step::oom;
  }
}

bool releases(const Step& step) {
  return step.kind == Step::segment_free || step.kind == Step::segment_unmap;
}

// A request and its completion that follow each other are one free; a trace may have been told to leave one of them
// out.
void pair_frees(History& history) {
  std::size_t requests = 0, completions = 0;
  for (const Step& step : history.steps) {
    requests += step.kind == Step::request_free;
    completions += step.kind == Step::complete_free;
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < history.steps.size(); ++i) {
    Step step = history.steps[i];
    if (step.kind == Step::request_free) {
      const bool followed = i + 1 < history.steps.size() && history.steps[i + 1].kind == Step::complete_free &&
                            history.steps[i + 1].address == step.address;
      if (followed || completions == 0) step.kind = Step::free;
      if (followed) ++i;
    } else if (step.kind == Step::complete_free && requests == 0) {
      step.kind = Step::free;
    }
    history.steps[kept++] = step;
  }
  history.steps.resize(kept);
}

// A release whose call stack is that of the allocation after it was forced by that allocation; other releases are
// empty_cache(). Where no stacks were recorded, nothing tells, and it counts as the program's.
void mark_forced(History& history) {
  for (std::size_t i = 0; i < history.steps.size();) {
    if (!releases(history.steps[i])) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < history.steps.size() &&
           (releases(history.steps[end]) || history.steps[end].kind == Step::complete_free))
      ++end;  // between them an allocation may have waited for all streams
    const Step* after = end < history.steps.size() ? &history.steps[end] : nullptr;
    const bool grows = after != nullptr && (after->kind == Step::segment_alloc || after->kind == Step::segment_map ||
                                            after->kind == Step::oom);
    for (; i < end; ++i)
      history.steps[i].forced =
          grows && releases(history.steps[i]) && history.steps[i].stack != 0 && history.steps[i].stack == after->stack;
  }
}

// Older releases do not write the pool of an event: the segment it lies in tells.
void find_pools(const Snapshot& snapshot, History& history) {
  const auto pool_of = [&](PoolId id) {
    const auto at = std::ranges::find(snapshot.pools, id);
    return static_cast<std::uint16_t>(at - snapshot.pools.begin());
  };
  std::map<Address, std::pair<Address, std::uint16_t>> privates;  // begin → end, pool
  for (const Segment& segment : history.finish)
    if (segment.pool != PoolId{0, 0})
      privates[segment.address] = {segment.address + static_cast<Address>(segment.size), pool_of(segment.pool)};
  if (privates.empty()) return;
  for (Step& step : history.steps) {
    const auto after = privates.upper_bound(step.address);
    if (after != privates.begin() && step.address < std::prev(after)->second.first)
      step.pool = std::prev(after)->second.second;
  }
}

void read_settings(const Snapshot& snapshot, History& history) {
  if (snapshot.conf) {
    try {
      history.settings = Settings::parse(*snapshot.conf);
    } catch (const std::invalid_argument& error) {
      history.warnings.push_back(fmt::format("the recorded settings '{}' are not understood ({}); defaults are assumed",
                                             *snapshot.conf, error.what()));
    }
  }
  // A release may have been run with expandable segments although the settings are not in the file.
  for (const Step& step : history.steps)
    if (step.kind == Step::segment_map) history.settings.expandable_segments = true;
  for (const Segment& segment : history.finish)
    if (segment.expandable && !snapshot.conf) history.settings.expandable_segments = true;
}

// Numbers let replays find their blocks without looking addresses up, once for all of them.
void number_blocks(History& history) {
  AddressMap numbers;
  std::vector<Address> addresses;  // by number
  std::vector<std::uint32_t> spare;
  const auto address_of = [&](std::uint32_t number) { return addresses[number]; };
  const auto number = [&](Address address) {
    std::uint32_t next = static_cast<std::uint32_t>(addresses.size());
    if (spare.empty()) {
      addresses.push_back(address);
    } else {
      next = spare.back();
      spare.pop_back();
      addresses[next] = address;
    }
    (void)numbers.take(address, address_of);  // handed out twice: frees mean the newer one
    numbers.insert(address, next);
    return next;
  };
  for (const Segment& segment : history.start)
    for (const Block& block : segment.blocks)
      if (block.state != BlockState::free) (void)number(block.address);
  for (Step& step : history.steps) {
    if (step.kind == Step::alloc) {
      step.block = number(step.address);
    } else if (step.kind == Step::request_free) {
      step.block = numbers.find(step.address, address_of);
    } else if (step.kind == Step::free || step.kind == Step::complete_free) {
      step.block = numbers.take(step.address, address_of);
      if (step.block != Step::no_block) spare.push_back(step.block);
    }
  }
  history.blocks = static_cast<std::uint32_t>(addresses.size());
}

// What can be said without a history: the state at the dump.
std::string state_of(const Snapshot& snapshot, std::int32_t device) {
  std::int64_t reserved = 0, allocated = 0;
  std::size_t segments = 0;
  for (const RecordedSegment& recorded : snapshot.segments) {
    if (recorded.device != device) continue;
    ++segments;
    reserved += recorded.segment.size;
    for (const Block& block : recorded.segment.blocks)
      if (block.state != BlockState::free) allocated += block.size;
  }
  if (segments == 0) return "";
  return fmt::format("; {} segments {} {}, {} of it allocated", segments, snapshot.truncated ? "are listed:" : "held",
                     Bytes{reserved}.text(), Bytes{allocated}.text());
}

}  // namespace

std::int32_t busiest_device(const Snapshot& snapshot) {
  const auto longest = std::ranges::max_element(snapshot.traces, {}, [](const auto& trace) { return trace.size(); });
  return longest == snapshot.traces.end() ? 0 : static_cast<std::int32_t>(longest - snapshot.traces.begin());
}

History history_of(const Snapshot& snapshot, std::int32_t device) {
  if (device < 0) throw std::invalid_argument(fmt::format("replay: a device is a number from 0 on, got {}", device));
  const bool known = static_cast<std::size_t>(device) < snapshot.traces.size();
  if (!known || snapshot.traces[static_cast<std::size_t>(device)].empty())
    throw Error(fmt::format("the snapshot{} has no history for device {}{}. {}",
                            snapshot.truncated ? " is truncated and" : "", device, state_of(snapshot, device),
                            how_to_record));
  const std::vector<TraceEvent>& trace = snapshot.traces[static_cast<std::size_t>(device)];
  History history;
  history.device = device;
  history.events = trace.size();
  history.laid_out = snapshot.source != Source::profiler;
  history.partial = snapshot.truncated;
  history.steps.reserve(trace.size());
  for (std::size_t i = 0; i < trace.size(); ++i) {
    const TraceEvent& event = trace[i];
    if (event.action == Action::snapshot) continue;
    history.steps.push_back({.kind = kind_of(event.action),
                             .pool = static_cast<std::uint16_t>(event.pool),
                             .event = static_cast<std::uint32_t>(i),
                             .stack = event.stack,
                             .stream = snapshot.streams[event.stream],
                             .address = event.address,
                             .size = event.size});
  }
  for (const RecordedSegment& recorded : snapshot.segments) {
    if (recorded.device != device) continue;
    history.finish.push_back(recorded.segment);
    for (std::size_t i = 0; i < recorded.segment.blocks.size(); ++i)
      if (recorded.block_stacks[i] != 0 && recorded.segment.blocks[i].state != BlockState::free)
        history.start_stacks[recorded.segment.blocks[i].address] = recorded.block_stacks[i];
  }
  // Whoever was handed an address since is not who held it at the start.
  for (const Step& step : history.steps)
    if (step.kind == Step::alloc && !history.start_stacks.empty()) history.start_stacks.erase(step.address);
  history.pools = snapshot.pools;
  find_pools(snapshot, history);
  pair_frees(history);
  mark_forced(history);
  read_settings(snapshot, history);
  if (history.partial) forget_what_came_later(history);
  rebuild_start(snapshot, history);
  number_blocks(history);
  return history;
}

}  // namespace athanor::allocator
