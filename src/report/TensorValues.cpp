#include "report/TensorValues.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string_view>

namespace athanor::report {
namespace {

template <class Number>
Number raw(const std::byte* bytes, std::size_t i) {
  Number number;
  std::memcpy(&number, bytes + i * sizeof(Number), sizeof(Number));
  return number;
}

template <class Number>
double plain(const std::byte* bytes, std::size_t i) {
  return static_cast<double>(raw<Number>(bytes, i));
}

double bfloat16(const std::byte* bytes, std::size_t i) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(raw<std::uint16_t>(bytes, i)) << 16u);
}

// IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits.
double float16(const std::byte* bytes, std::size_t i) {
  const auto code = raw<std::uint16_t>(bytes, i);
  const int exponent = code >> 10u & 31;
  const int fraction = code & 1023;
  double size = 0;
  if (exponent == 31)
    size = fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  else if (exponent == 0)
    size = std::ldexp(fraction, -24);
  else
    size = std::ldexp(1024 + fraction, exponent - 25);
  return (code & 0x8000u) != 0 ? -size : size;
}

struct Entry {
  std::string_view dtype;
  ValueReader reader;
};

constexpr std::array<Entry, 16> kReaders{{{"F64", plain<double>},
                                          {"F32", plain<float>},
                                          {"F16", float16},
                                          {"BF16", bfloat16},
                                          {"I64", plain<std::int64_t>},
                                          {"I32", plain<std::int32_t>},
                                          {"I16", plain<std::int16_t>},
                                          {"I8", plain<std::int8_t>},
                                          {"U64", plain<std::uint64_t>},
                                          {"U32", plain<std::uint32_t>},
                                          {"U16", plain<std::uint16_t>},
                                          {"U8", plain<std::uint8_t>},
                                          {"BOOL", plain<std::uint8_t>},
                                          {"F8_E4M3", plain<std::uint8_t>},
                                          {"F8_E5M2", plain<std::uint8_t>},
                                          {"F8_E8M0", plain<std::uint8_t>}}};

}  // namespace

ValueReader reader_of(const std::string& dtype) {
  for (const auto& entry : kReaders)
    if (entry.dtype == dtype) return entry.reader;
  throw std::invalid_argument("no values of dtype " + dtype + " can be read");
}

bool is_floating(const std::string& dtype) {
  return dtype == "F64" || dtype == "F32" || dtype == "F16" || dtype == "BF16";
}

}  // namespace athanor::report
