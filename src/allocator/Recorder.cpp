#include "athanor/allocator/Recorder.h"

namespace athanor::allocator {

Recorder::Recorder(CachingAllocator& model, std::int32_t device, std::size_t most)
    : model_(&model), device_(static_cast<std::size_t>(device)), most_(most) {
  snapshot_.stream_index(0);
  snapshot_.pool_index({0, 0});
  model.observe([this](const Event& event) {
    TraceEvent entry;
    entry.action = event.action;
    entry.stack = stack_;
    entry.stream = snapshot_.stream_index(event.stream);
    entry.pool = snapshot_.pool_index(event.pool);
    entry.address = event.address;
    entry.size = event.size;
    entry.time_us = time_us_;
    events_.push_back(entry);
    if (events_.size() > most_) events_.pop_front();
    if (event.action == Action::alloc) stacks_[event.address] = stack_;
    if (event.action == Action::free_completed) stacks_.erase(event.address);
  });
}

void Recorder::stop() {
  model_->observe(nullptr);
}

Snapshot Recorder::snapshot(const std::string& conf) const {
  Snapshot out = snapshot_;
  out.conf = conf;
  out.traces.resize(device_ + 1);
  out.traces[device_].assign(events_.begin(), events_.end());
  for (Segment& segment : model_->segments()) {
    RecordedSegment recorded;
    recorded.device = static_cast<std::int32_t>(device_);
    for (const Block& block : segment.blocks) {
      const auto known = stacks_.find(block.address);
      recorded.block_stacks.push_back(block.state == BlockState::free || known == stacks_.end() ? 0 : known->second);
    }
    recorded.segment = std::move(segment);
    out.segments.push_back(std::move(recorded));
  }
  return out;
}

}  // namespace athanor::allocator
