#include "allocator/AddressSpace.h"

#include <iterator>

#include "athanor/core/Error.h"

namespace athanor::allocator {
namespace {

constexpr std::uint64_t granularity = 2 << 20;

std::uint64_t round_up(std::uint64_t value) {
  return (value + granularity - 1) / granularity * granularity;
}

}  // namespace

std::uint64_t AddressSpace::take(std::int64_t size, bool rising) {
  const std::uint64_t length = round_up(static_cast<std::uint64_t>(size));
  std::uint64_t address = 0;
  if (rising) {
    std::uint64_t from = lowest;
    auto next = taken_.lower_bound(lowest);
    if (next != taken_.begin() && std::prev(next)->second > from) from = round_up(std::prev(next)->second);
    while (next != taken_.end() && next->first < from + length) {
      if (next->second > from) from = round_up(next->second);
      ++next;
    }
    address = from;
  } else {
    std::uint64_t to = highest;
    auto next = taken_.lower_bound(highest);
    while (next != taken_.begin() && std::prev(next)->second + length > to) {
      --next;
      if (next->first < to) to = next->first / granularity * granularity;
    }
    address = to - length;
  }
  if (address < lowest || address + length > highest) throw Error("allocator: the model's address space is exhausted");
  taken_.emplace(address, address + length);
  return address;
}

bool AddressSpace::take_at(std::uint64_t address, std::int64_t size) {
  const std::uint64_t end = address + static_cast<std::uint64_t>(size);
  const auto next = taken_.lower_bound(address);
  if (next != taken_.end() && next->first < end) return false;
  if (next != taken_.begin() && std::prev(next)->second > address) return false;
  taken_.emplace_hint(next, address, end);
  return true;
}

std::int64_t AddressSpace::room(std::uint64_t address) const {
  const auto next = taken_.upper_bound(address);
  if (next != taken_.begin() && std::prev(next)->second > address) return 0;
  const std::uint64_t end = next == taken_.end() ? std::uint64_t{1} << 62 : next->first;
  return end > address ? static_cast<std::int64_t>(end - address) : 0;
}

void AddressSpace::give_back(std::uint64_t address) {
  taken_.erase(address);
}

}  // namespace athanor::allocator
