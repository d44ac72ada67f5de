#include "optim/engine/Table.h"

#include <algorithm>

#include "optim/engine/Threads.h"

namespace athanor::optim::engine {
namespace {
// About 64 tasks, so that threads end together, but none so short that claiming it counts (10 µs) or so long that a
// starved thread holds up the rest. A multiple of the block of 8-bit state, so that no block is shared by two threads.
std::int64_t elements_per_task(std::int64_t total) {
  return std::clamp<std::int64_t>(total / 64 / 2048 * 2048, 1 << 14, 1 << 18);
}
}  // namespace

void Table::resize(std::size_t count) {
  rows.assign(count, {});
  kernels.assign(count, nullptr);
  sizes.assign(count, 0);
  active_.clear();
  active_sizes_.clear();
  pieces_.clear();
  tasks_.clear();
}

void Table::activate(const std::vector<std::uint32_t>& active) {
  const auto same_size = [&](std::uint32_t row, std::int64_t size) { return sizes[row] == size; };
  if (active == active_ && std::equal(active.begin(), active.end(), active_sizes_.begin(), same_size)) return;
  active_ = active;
  active_sizes_.clear();
  pieces_.clear();
  tasks_ = {0};
  std::int64_t total = 0;
  for (const auto row : active) total += sizes[row];
  const std::int64_t wanted = elements_per_task(total);
  std::int64_t filled = 0;
  for (const auto row : active) {
    active_sizes_.push_back(sizes[row]);
    for (std::int64_t begin = 0; begin < sizes[row];) {
      // A row may be cut only at a multiple of 2048, so that no cache line and no block is shared.
      std::int64_t end = std::min(sizes[row], begin + std::max<std::int64_t>(wanted - filled, 2048));
      if (end < sizes[row]) end = end / 2048 * 2048;
      pieces_.push_back({row, begin, end});
      filled += end - begin;
      begin = end;
      if (filled > wanted - 2048) {
        tasks_.push_back(pieces_.size());
        filled = 0;
      }
    }
  }
  if (tasks_.back() != pieces_.size()) tasks_.push_back(pieces_.size());
}

void Table::run(int threads) const {
  if (pieces_.empty()) return;
  parallel(static_cast<std::int64_t>(tasks_.size()) - 1, threads, [this](std::int64_t task) {
    const auto t = static_cast<std::size_t>(task);
    for (std::size_t i = tasks_[t]; i < tasks_[t + 1]; ++i)
      kernels[pieces_[i].row](rows[pieces_[i].row], pieces_[i].begin, pieces_[i].end);
  });
}

}  // namespace athanor::optim::engine
