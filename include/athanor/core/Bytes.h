#pragma once
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace athanor {

/// A number of bytes. Printed for people in binary units with three significant digits: "1.23 GiB".
struct Bytes {
  std::int64_t count = 0;

  /// Reads "12GiB", "512 MiB", "8519680", "1.5 GB" (decimal units are powers of 1000). Throws std::invalid_argument.
  static Bytes parse(std::string_view text);

  [[nodiscard]] std::string text() const;
  [[nodiscard]] double gib() const { return static_cast<double>(count) / (1024.0 * 1024.0 * 1024.0); }
  [[nodiscard]] double mib() const { return static_cast<double>(count) / (1024.0 * 1024.0); }

  auto operator<=>(const Bytes&) const = default;
  Bytes& operator+=(Bytes other) {
    count += other.count;
    return *this;
  }
  Bytes& operator-=(Bytes other) {
    count -= other.count;
    return *this;
  }
  friend Bytes operator+(Bytes a, Bytes b) { return {a.count + b.count}; }
  friend Bytes operator-(Bytes a, Bytes b) { return {a.count - b.count}; }
};

namespace literals {
constexpr Bytes operator""_KiB(unsigned long long n) {
  return {static_cast<std::int64_t>(n) * 1024};
}
constexpr Bytes operator""_MiB(unsigned long long n) {
  return {static_cast<std::int64_t>(n) * 1024 * 1024};
}
constexpr Bytes operator""_GiB(unsigned long long n) {
  return {static_cast<std::int64_t>(n) * 1024 * 1024 * 1024};
}
}  // namespace literals

}  // namespace athanor
