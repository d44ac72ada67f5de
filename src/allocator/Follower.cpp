#include "allocator/Follower.h"

#include <algorithm>
#include <map>
#include <utility>

namespace athanor::allocator {
namespace {

bool takes(const Step& step) {
  return step.kind == Step::segment_alloc || step.kind == Step::segment_map;
}
bool gives_back(const Step& step) {
  return step.kind == Step::segment_free || step.kind == Step::segment_unmap;
}

}  // namespace

Follower::Follower(const History& history) : history_(history), model_(options()), blocks_(history.blocks) {
  model_.restore(history.start, history.reserves);
  model_.observe([this](const Event& event) { see(event); });
  held_ = recorded_peak_ = model_.reserved();
  std::size_t number = 0;
  for (const Segment& segment : history.start)
    for (const Block& block : segment.blocks)
      if (block.state != BlockState::free)
        blocks_[number++] = {block.address, stack_at_start(block.address), /*older=*/true};
}

DeviceOptions Follower::options() {
  DeviceOptions device;
  device.settings = history_.settings;
  device.settings.memory_fraction = 1;  // releases are taken from the trace
  if (history_.total_memory) device.total_memory = *history_.total_memory;
  device.place = [this](std::int64_t size, bool expandable) { return place(size, expandable); };
  return device;
}

std::uint32_t Follower::stack_at_start(Address address) const {
  const auto known = history_.start_stacks.find(address);
  return known == history_.start_stacks.end() ? 0 : known->second;
}

Place Follower::place(std::int64_t size, bool expandable) {
  if (expandable && !own_places_ && next_range_ < history_.later_reserves.size()) {
    const Reserve& reserve = history_.later_reserves[next_range_++];
    return {reserve.address, reserve.size};
  }
  if (!expandable && !own_places_ && !expected_.empty()) return {expected_.front()->address, unlimited};
  const Address address = synthetic_;
  synthetic_ += static_cast<Address>((size + (1 << 21)) / (1 << 21) * (1 << 21));
  return {address, unlimited};
}

void Follower::see(const Event& event) {
  if (event.action >= Action::segment_alloc && event.action <= Action::segment_unmap) {
    seen_.push_back(event);
    const auto expected = event.action == Action::segment_alloc ? Step::segment_alloc : Step::segment_map;
    const bool taken = event.action == Action::segment_alloc || event.action == Action::segment_map;
    if (taken && !expected_.empty() && (!struggling_ || expected_.front()->kind == expected)) {
      const Step& recorded = *expected_.front();
      fidelity.segment_allocs.matched +=
          !struggling_ && recorded.size == event.size && recorded.address == event.address;
      expected_.pop_front();
    }
  }
}

std::optional<Address> Follower::ask(const Step& step) {
  const PoolId pool = step.pool < history_.pools.size() ? history_.pools[step.pool] : PoolId{0, 0};
  const bool shared = pool == PoolId{0, 0};
  if (!shared) model_.begin_pool(pool);
  std::optional<Address> address;
  try {
    address = model_.allocate(step.size, step.stream);
  } catch (const std::invalid_argument&) {
    // The recorded place is taken: the model and the history have parted. It goes on elsewhere, and that is counted.
    own_places_ = true;
    address = model_.allocate(step.size, step.stream);
    own_places_ = false;
  }
  if (!shared) model_.end_pool(pool);
  expected_.clear();
  return address;
}

void Follower::allocate(const Step& step) {
  ++fidelity.addresses.recorded;
  const auto address = ask(step);
  blocks_[step.block] = {address.value_or(Held::nowhere), step.stack};
  fidelity.addresses.matched += address && *address == step.address;
}

bool Follower::releases_everything(std::size_t begin) const {
  std::map<Address, std::int64_t> whole;
  for (const Segment& segment : model_.segments()) {
    if (segment.expandable) return true;
    if (segment.blocks.size() == 1 && segment.blocks[0].state == BlockState::free)
      whole[segment.address] = segment.size;
  }
  std::size_t known = 0;
  for (std::size_t i = begin; i < history_.steps.size(); ++i) {
    if (history_.steps[i].kind == Step::complete_free) continue;
    if (!gives_back(history_.steps[i])) break;
    const auto found = whole.find(history_.steps[i].address);
    known += found != whole.end() && found->second == history_.steps[i].size;
  }
  return known == whole.size();
}

// A run of releases: what empty_cache would give back, or (after garbage collection, or of oversize blocks) a part of
// it.
void Follower::release(std::size_t begin, std::size_t end) {
  seen_.clear();
  const bool collected = history_.settings.garbage_collection_threshold > 0 && history_.steps[begin].forced;
  if (!collected && releases_everything(begin)) {
    model_.empty_cache();
  } else {
    for (std::size_t i = begin; i < end; ++i) model_.release_segment(history_.steps[i].address);
  }
  for (std::size_t i = begin, at = 0; i < end; ++i) {
    const Step& step = history_.steps[i];
    ++fidelity.segment_frees.recorded;
    held_ -= step.size;
    if (at < seen_.size() && seen_[at].address == step.address && seen_[at].size == step.size) {
      ++fidelity.segment_frees.matched;
      ++at;
    }
  }
}

// An allocation that found the device full, waited for all streams, gave the cache back and tried again: the step that
// ends it. What came back while it waited was not there when it looked for a free block.
std::optional<std::size_t> Follower::retry(std::size_t begin) const {
  if (history_.settings.garbage_collection_threshold > 0) return std::nullopt;
  const auto& steps = history_.steps;
  std::size_t at = begin;
  bool released = false;
  for (; at < steps.size() && (steps[at].kind == Step::complete_free || (gives_back(steps[at]) && steps[at].forced));
       ++at)
    released = released || gives_back(steps[at]);
  if (!released || at == steps.size()) return std::nullopt;
  if (steps[at].kind == Step::oom) return at;
  const bool grows =
      steps[at].kind == Step::segment_alloc && at + 1 < steps.size() && steps[at + 1].kind == Step::alloc;
  return grows ? std::optional(at + 1) : std::nullopt;
}

// An allocation that mapped some pages, found the device full, gave free pages back and tried again (or gave up): the
// step that ends it. The trace then shows pages taken before pages given back, or taken and no allocation.
std::optional<std::size_t> Follower::struggle(std::size_t begin) const {
  bool mapped = false, again = false;
  const bool released_first = gives_back(history_.steps[begin]);
  for (std::size_t i = begin; i < history_.steps.size(); ++i) {
    const Step& step = history_.steps[i];
    if (step.kind == Step::segment_map) {
      mapped = true;
    } else if (step.kind == Step::segment_unmap) {
      again = again || mapped;
    } else if (step.kind == Step::alloc || step.kind == Step::oom) {
      // An allocation releases once: what was released before that was the program's own empty_cache().
      if (again && released_first) return std::nullopt;
      if (again || (mapped && step.kind == Step::oom)) return i;
      return std::nullopt;
    } else if (step.kind != Step::complete_free && step.kind != Step::segment_free &&
               step.kind != Step::segment_alloc) {
      break;
    }
  }
  return std::nullopt;
}

// With max_split_size, an allocation that finds the device full first gives back the smallest cached segment that would
// do, or the largest ones until their sum does (upstream's release_available_cached_blocks).
std::vector<Address> Follower::oversize_releases(const Step& request) const {
  const std::int64_t threshold = history_.settings.max_split_size;
  const std::int64_t wanted = std::max(history_.settings.rounded(request.size), threshold);
  const PoolId pool = request.pool < history_.pools.size() ? history_.pools[request.pool] : PoolId{0, 0};
  std::vector<std::pair<std::int64_t, Address>> cached;
  for (const Segment& segment : model_.segments())
    if (segment.stream == request.stream && segment.pool == pool && segment.large && segment.size >= threshold &&
        segment.blocks.size() == 1 && segment.blocks[0].state == BlockState::free)
      cached.emplace_back(segment.size, segment.address);
  std::ranges::sort(cached);
  const auto enough = std::ranges::lower_bound(cached, std::pair{wanted, Address{0}});
  if (enough != cached.end()) return {enough->second};
  std::vector<Address> out;
  for (std::int64_t released = 0; released < wanted && !cached.empty(); cached.pop_back()) {
    released += cached.back().first;
    out.push_back(cached.back().second);
  }
  return out;
}

// The step that ends such an allocation, if these releases begin as its would. Where a program's own empty_cache()
// begins likewise, both give back the same in the same order.
std::optional<std::size_t> Follower::oversize_struggle(std::size_t begin) const {
  const bool known_as_the_programs = history_.steps[begin].stack != 0 && !history_.steps[begin].forced;
  if (history_.settings.max_split_size == unlimited || known_as_the_programs) return std::nullopt;
  std::size_t end = begin;
  while (end < history_.steps.size() &&
         (gives_back(history_.steps[end]) || history_.steps[end].kind == Step::complete_free ||
          history_.steps[end].kind == Step::segment_alloc))
    ++end;
  if (end == history_.steps.size()) return std::nullopt;
  const Step& request = history_.steps[end];
  if (request.kind != Step::oom && (request.kind != Step::alloc || history_.steps[end - 1].kind != Step::segment_alloc))
    return std::nullopt;
  const std::vector<Address> first = oversize_releases(request);
  if (first.empty() || first.size() > end - begin) return std::nullopt;
  for (std::size_t i = 0; i < first.size(); ++i)
    if (history_.steps[begin + i].kind != Step::segment_free || history_.steps[begin + i].address != first[i])
      return std::nullopt;
  return end;
}

// The model goes through the same trouble by itself on a device that is just as full: the least capacity that allows
// what was taken fails where the real one failed.
void Follower::follow_struggle(std::size_t begin, std::size_t end) {
  std::int64_t capacity = held_;
  bool mapped = false;
  std::vector<const Step*> recorded;
  std::vector<Address> completed;
  for (std::size_t i = begin; i < end; ++i) {
    const Step& step = history_.steps[i];
    if (step.kind == Step::complete_free) {
      // The model takes it back when it waits for all streams.
      if (step.block == Step::no_block) continue;
      completed.push_back(std::exchange(blocks_[step.block], {}).model);
      continue;
    }
    held_ += takes(step) ? step.size : -step.size;
    capacity = std::max(capacity, held_);
    recorded.push_back(&step);
    mapped = mapped || step.kind == Step::segment_map;
    if (step.kind == Step::segment_alloc) expected_.push_back(&step);
    (takes(step) ? fidelity.segment_allocs : fidelity.segment_frees).recorded++;
  }
  recorded_peak_ = std::max(recorded_peak_, capacity);
  seen_.clear();
  struggling_ = true;
  model_.set_capacity(mapped ? capacity : held_);
  if (history_.steps[end].kind == Step::alloc) {
    allocate(history_.steps[end]);
  } else {
    (void)ask(history_.steps[end]);
  }
  model_.set_capacity(unlimited);
  struggling_ = false;
  for (const Address address : completed)
    if (model_.waits(address)) model_.complete_free(address);
  for (std::size_t i = 0; i < recorded.size() && i < seen_.size(); ++i) {
    const bool same =
        recorded[i]->address == seen_[i].address && recorded[i]->size == seen_[i].size &&
        takes(*recorded[i]) == (seen_[i].action == Action::segment_map || seen_[i].action == Action::segment_alloc);
    if (same) (takes(*recorded[i]) ? fidelity.segment_allocs : fidelity.segment_frees).matched++;
  }
}

void Follower::step(std::size_t index) {
  if (index < done_until_) return;
  const Step& step = history_.steps[index];
  std::optional<std::size_t> end;
  if (step.kind == Step::complete_free || gives_back(step)) end = retry(index);
  if (!end && (takes(step) || gives_back(step))) end = struggle(index);
  if (!end && gives_back(step)) end = oversize_struggle(index);
  if (end) {
    follow_struggle(index, *end);
    done_until_ = *end + 1;
    return;
  }
  if (gives_back(step)) {
    done_until_ = index;
    while (done_until_ < history_.steps.size() && gives_back(history_.steps[done_until_])) ++done_until_;
    release(index, done_until_);
  } else if (takes(step)) {
    ++fidelity.segment_allocs.recorded;
    expected_.push_back(&step);
    held_ += step.size;
    recorded_peak_ = std::max(recorded_peak_, held_);
  } else if (step.kind == Step::alloc) {
    allocate(step);
  } else if (step.kind != Step::oom) {
    if (step.block == Step::no_block || blocks_[step.block].model == Held::nowhere) {
      ++fidelity.orphans;
      return;
    }
    const Address address = blocks_[step.block].model;
    if (step.kind == Step::request_free) {
      model_.request_free(address);
      return;
    }
    blocks_[step.block] = {};
    if (step.kind == Step::free) {
      model_.free(address);
    } else if (model_.waits(address)) {
      model_.complete_free(address);
    }
  }
}

void Follower::finish() {
  fidelity.recorded_peak_reserved = recorded_peak_;
  if (history_.partial) return;  // the segments listed are those of a later moment
  std::map<Address, const Segment*> recorded;
  for (const Segment& segment : history_.finish) recorded[segment.address] = &segment;
  const auto same = [](const Block& a, const Block& b) {
    return a.address == b.address && a.size == b.size && a.state == b.state;
  };
  for (const Segment& segment : model_.segments()) {
    const auto found = recorded.find(segment.address);
    const bool equal = found != recorded.end() && std::ranges::equal(found->second->blocks, segment.blocks, same);
    fidelity.layout_differences += !equal;
    if (found != recorded.end()) recorded.erase(found);
  }
  fidelity.layout_differences += recorded.size();
}

}  // namespace athanor::allocator
