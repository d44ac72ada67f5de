#include "athanor/core/Bytes.h"

#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "athanor/core/Format.h"

namespace athanor {
namespace {

struct Unit {
  std::string_view name;
  double bytes;
};
constexpr std::array<Unit, 12> kUnits{{{"", 1.0},
                                       {"b", 1.0},
                                       {"k", 1024.0},
                                       {"kib", 1024.0},
                                       {"m", 1048576.0},
                                       {"mib", 1048576.0},
                                       {"g", 1073741824.0},
                                       {"gib", 1073741824.0},
                                       {"tib", 1099511627776.0},
                                       {"kb", 1e3},
                                       {"mb", 1e6},
                                       {"gb", 1e9}}};

}  // namespace

Bytes Bytes::parse(std::string_view text) {
  const auto complain = [&] {
    throw std::invalid_argument("size '" + std::string(text) +
                                "' is not a number with a unit, e.g. 12GiB, 512MiB or 8519680");
  };
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !std::isfinite(value) || value < 0.0) complain();
  std::string unit;
  for (const char c : std::string_view(end, text.data() + text.size()))
    if (c != ' ') unit += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  for (const auto& [name, bytes] : kUnits) {
    if (unit != name) continue;
    if (value * bytes >= 9.2e18) complain();
    return {std::llround(value * bytes)};
  }
  complain();
  return {};
}

std::string Bytes::text() const {
  constexpr std::array<const char*, 6> names{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(count);
  std::size_t unit = 0;
  // 999.5 would print as 1000 at three digits: it belongs to the next unit.
  while (std::abs(value) >= 999.5 && unit + 1 < names.size()) {
    value /= 1024.0;
    ++unit;
  }
  return (unit == 0 ? std::to_string(count) : core::significant(value)) + " " + names[unit];
}

}  // namespace athanor
