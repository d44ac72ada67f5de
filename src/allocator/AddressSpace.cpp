#include "allocator/AddressSpace.h"

#include <algorithm>
#include <iterator>

#include "athanor/core/Error.h"

namespace athanor::allocator {
namespace {

constexpr std::uint64_t granularity = 2 << 20;
constexpr std::uint64_t region = 32 << 20;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

std::uint64_t AddressSpace::take(std::int64_t size, AddressOrder order) {
  const std::uint64_t length = round_up(static_cast<std::uint64_t>(size), granularity);
  const bool by_region = order == AddressOrder::driver;
  const auto fits = [&](const auto& part) { return by_region && part.second - part.first >= length; };
  if (const auto part = std::ranges::find_if(left_, fits); part != left_.end()) {
    const auto [begin, end] = *part;
    left_.erase(part);
    if (begin + length < end) left_.emplace(begin + length, end);
    return begin;
  }
  const std::uint64_t whole = by_region ? round_up(length, region) : length;
  const std::uint64_t address = order == AddressOrder::rising ? lowest_gap(whole) : highest_gap(whole);
  if (address < lowest || address + whole > highest) throw Error("allocator: the model's address space is exhausted");
  regions_.emplace(address, address + whole);
  if (length < whole) left_.emplace(address + length, address + whole);
  return address;
}

std::uint64_t AddressSpace::lowest_gap(std::uint64_t length) const {
  std::uint64_t from = lowest;
  auto next = regions_.lower_bound(lowest);
  if (next != regions_.begin() && std::prev(next)->second > from) from = round_up(std::prev(next)->second, granularity);
  while (next != regions_.end() && next->first < from + length) {
    if (next->second > from) from = round_up(next->second, granularity);
    ++next;
  }
  return from;
}

std::uint64_t AddressSpace::highest_gap(std::uint64_t length) const {
  const std::uint64_t unit = length % region == 0 ? region : granularity;
  std::uint64_t to = highest;
  auto next = regions_.lower_bound(highest);
  while (next != regions_.begin() && std::prev(next)->second + length > to) {
    --next;
    if (next->first < to) to = next->first / unit * unit;
  }
  return to - length;
}

bool AddressSpace::take_at(std::uint64_t address, std::int64_t size) {
  const std::uint64_t end = address + static_cast<std::uint64_t>(size);
  const auto next = regions_.lower_bound(address);
  if (next != regions_.end() && next->first < end) return false;
  if (next != regions_.begin() && std::prev(next)->second > address) return false;
  regions_.emplace_hint(next, address, end);
  return true;
}

std::int64_t AddressSpace::room(std::uint64_t address) const {
  const auto next = regions_.upper_bound(address);
  if (next != regions_.begin() && std::prev(next)->second > address) return 0;
  const std::uint64_t end = next == regions_.end() ? std::uint64_t{1} << 62 : next->first;
  return end > address ? static_cast<std::int64_t>(end - address) : 0;
}

void AddressSpace::give_back(std::uint64_t address, std::int64_t size) {
  const auto of = std::prev(regions_.upper_bound(address));
  std::uint64_t begin = address;
  std::uint64_t end = std::min(of->second, address + round_up(static_cast<std::uint64_t>(size), granularity));
  auto next = left_.lower_bound(begin);
  if (next != left_.end() && next->first == end && end < of->second) {
    end = next->second;
    next = left_.erase(next);
  }
  if (next != left_.begin() && std::prev(next)->second == begin && begin > of->first) {
    begin = std::prev(next)->first;
    left_.erase(std::prev(next));
  }
  if (begin == of->first && end == of->second) {
    regions_.erase(of);
  } else {
    left_.emplace(begin, end);
  }
}

}  // namespace athanor::allocator
