#include "athanor/core/Format.h"

#include <fmt/format.h>

#include <cmath>
#include <ctime>

namespace athanor::core {

std::string significant(double value, int digits) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  if (value == 0.0) return "0";
  const double magnitude = std::abs(value);
  if (magnitude < 1e-4 || magnitude >= 1e6) return fmt::format("{:.{}e}", value, digits - 1);
  // The exponent after rounding, so that 9.996 becomes 10.0 and not 10.00.
  const std::string rounded = fmt::format("{:.{}e}", magnitude, digits - 1);
  const int exponent = std::stoi(rounded.substr(rounded.find('e') + 1));
  return fmt::format("{:.{}f}", value, std::max(0, digits - 1 - exponent));
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds < 0) return "-" + duration(-seconds);
  if (seconds < 1e-3) return significant(seconds * 1e6) + " µs";
  if (seconds < 1.0) return significant(seconds * 1e3) + " ms";
  if (seconds < 59.95) return significant(seconds) + " s";
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string local_time(const char* form) {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[128] = "";
  std::strftime(text, sizeof text, form, &parts);
  return text;
}

std::string grouped(long long count) {
  std::string digits = std::to_string(count);
  const std::ptrdiff_t first = count < 0 ? 1 : 0;
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > first; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

}  // namespace athanor::core
