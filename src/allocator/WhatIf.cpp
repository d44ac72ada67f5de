#include <fmt/format.h>

#include <algorithm>

#include "athanor/allocator/Replay.h"
#include "athanor/core/Bytes.h"

namespace athanor::allocator {
namespace {

/// One run under other settings, addresses and all.
struct Run {
  static constexpr Address nowhere = ~Address{0};

  CachingAllocator model;
  std::vector<Address> blocks;  // by number
  std::optional<Step> failed;
  std::size_t failed_step = 0;

  bool allocate(const History& history, const Step& step, std::size_t index) {
    const PoolId pool = step.pool < history.pools.size() ? history.pools[step.pool] : PoolId{0, 0};
    const bool shared = pool == PoolId{0, 0};
    if (!shared) model.begin_pool(pool);
    const auto address = model.allocate(step.size, step.stream);
    if (!shared) model.end_pool(pool);
    if (!address) {
      failed = step;
      failed_step = index;
      return false;
    }
    blocks[step.block] = *address;
    return true;
  }
};

// The program's own empty_cache() is repeated; releases that a full device forced happen by themselves, or not.
void run(Run& state, const History& history) {
  std::uint32_t number = 0;
  for (const Segment& segment : history.start)
    for (const Block& block : segment.blocks) {
      if (block.state == BlockState::free) continue;
      Step step;
      step.stream = segment.stream;
      step.block = number++;
      step.size = block.requested > 0 ? block.requested : block.size;
      if (!state.allocate(history, step, 0)) return;
    }
  bool emptied = false;
  for (std::size_t i = 0; i < history.steps.size(); ++i) {
    const Step& step = history.steps[i];
    const bool release = step.kind == Step::segment_free || step.kind == Step::segment_unmap;
    if (release && !step.forced && !emptied) state.model.empty_cache();
    emptied = release && !step.forced;
    if (step.kind == Step::alloc) {
      if (!state.allocate(history, step, i)) return;
    } else if (step.kind == Step::oom) {
      // What failed when it was recorded: would it have fitted?
      const auto address = state.model.allocate(step.size, step.stream);
      if (!address) {
        state.failed = step;
        state.failed_step = i;
        return;
      }
      state.model.free(*address);
    } else if (step.kind <= Step::complete_free) {
      if (step.block == Step::no_block || state.blocks[step.block] == Run::nowhere) continue;
      Address& block = state.blocks[step.block];
      if (step.kind == Step::request_free) {
        state.model.request_free(block);
        continue;
      }
      if (step.kind == Step::free) {
        state.model.free(block);
      } else if (state.model.waits(block)) {
        state.model.complete_free(block);
      }
      block = Run::nowhere;
    }
  }
}

}  // namespace

Outcome what_if(const History& history, const Settings& settings, std::int64_t capacity) {
  Outcome outcome;
  outcome.settings = settings;
  for (const AddressOrder order : {AddressOrder::driver, AddressOrder::rising}) {
    DeviceOptions device;
    device.settings = settings;
    device.capacity = capacity;
    device.total_memory = history.total_memory.value_or(capacity);
    device.order = order;
    Run state{CachingAllocator(device), std::vector(history.blocks, Run::nowhere), {}, 0};
    run(state, history);
    const std::int64_t reserved = state.model.peak_reserved();
    (order == AddressOrder::driver ? outcome.peak_reserved : outcome.peak_reserved_other) = reserved;
    outcome.peak_allocated = std::max(outcome.peak_allocated, state.model.peak_allocated());
    outcome.retries = std::max(outcome.retries, state.model.statistics().num_alloc_retries);
    if (state.failed && !outcome.out_of_memory) {
      outcome.out_of_memory = true;
      outcome.failed_step = state.failed_step;
      outcome.failed_size = state.failed->size;
    }
  }
  return outcome;
}

std::vector<Settings> candidates(const History& history, std::int64_t capacity) {
  std::vector<Settings> out{history.settings};
  const auto add = [&](const char* conf) {
    const Settings settings = Settings::parse(conf);
    if (std::ranges::find(out, settings) == out.end()) out.push_back(settings);
  };
  add("");
  add("expandable_segments:True");
  add("max_split_size_mb:64");
  add("max_split_size_mb:128");
  add("max_split_size_mb:512");
  add("roundup_power2_divisions:4");
  add("roundup_power2_divisions:8");
  if (capacity != unlimited) add("garbage_collection_threshold:0.8,per_process_memory_fraction:0.95");
  return out;
}

Advice advise(const Replay& replay, const std::vector<Outcome>& outcomes, std::int64_t capacity) {
  const Outcome& now = outcomes.front();
  const Outcome* best = &now;
  for (const Outcome& outcome : outcomes) {
    if (outcome.out_of_memory != best->out_of_memory) {
      if (best->out_of_memory) best = &outcome;
    } else if (!outcome.out_of_memory && outcome.highest() < best->highest()) {
      best = &outcome;
    }
  }
  const auto text = [](std::int64_t bytes) { return Bytes{bytes}.text(); };
  const std::int64_t saved = now.highest() - best->highest();
  const bool rescued = now.out_of_memory && !best->out_of_memory;
  if (rescued)
    return {fmt::format("Set {}: this history then fits into {}, with {} reserved at its peak.", best->settings.text(),
                        text(capacity), text(best->highest())),
            best->settings.text()};
  if (now.out_of_memory)
    return {
        fmt::format("No allocator setting makes this history fit into {}: {} are in use when {} more are asked for; "
                    "make the step smaller (batch, checkpointing, precision).",
                    text(capacity), text(now.peak_allocated), text(now.failed_size)),
        ""};
  if (best == &now || saved * 50 < now.highest())
    return {fmt::format("Leave the allocator's settings as they are: of {} reserved at the peak {} were in use, and no "
                        "setting saves more than 2 %.",
                        text(replay.peak_reserved), text(replay.peak_allocated)),
            ""};
  return {fmt::format("Set {}: the peak reserved falls by {}, from {} to {}.",
                      best->settings.text().empty() ? "nothing (PyTorch's defaults)" : best->settings.text(),
                      text(saved), text(now.highest()), text(best->highest())),
          best->settings.text()};
}

}  // namespace athanor::allocator
