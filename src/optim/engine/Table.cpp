#include "optim/engine/Table.h"

#include <algorithm>

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
}

void Cut::follow(const Table& table, const std::vector<std::uint32_t>& rows) {
  const auto same_size = [&](std::uint32_t row, std::int64_t size) { return table.sizes[row] == size; };
  if (rows == rows_ && std::equal(rows.begin(), rows.end(), sizes_.begin(), same_size)) return;
  rows_ = rows;
  sizes_.clear();
  pieces_.clear();
  tasks_ = {0};
  shared_.clear();
  ready_.assign(table.rows.size(), 0);
  std::int64_t total = 0;
  for (const auto row : rows) total += sizes_.emplace_back(table.sizes[row]);
  const std::int64_t wanted = elements_per_task(total);
  std::int64_t filled = 0;
  for (const auto row : rows) cut(row, table.sizes[row], wanted, filled);
  if (tasks_.back() != pieces_.size()) tasks_.push_back(pieces_.size());
}

void Cut::cut(std::uint32_t row, std::int64_t size, std::int64_t wanted, std::int64_t& filled) {
  std::int64_t begin = 0;
  do {  // a row without elements is a piece too: its step counts
    // A row may be cut only at a multiple of 2048, so that no cache line and no block is shared.
    std::int64_t end = std::min(size, begin + std::max<std::int64_t>(wanted - filled, 2048));
    if (end < size) end = end / 2048 * 2048;
    if (begin == 0 && end < size) shared_.push_back(row);
    pieces_.push_back({row, begin == 0 && end == size, begin, end});
    filled += end - begin;
    begin = end;
    if (filled > wanted - 2048) {
      tasks_.push_back(pieces_.size());
      filled = 0;
    }
  } while (begin < size);
}

}  // namespace athanor::optim::engine
