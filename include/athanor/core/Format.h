#pragma once
#include <string>

namespace athanor::core {

/// Three significant digits, no exponent between 1e-4 and 1e6: 0.00312, 12.3, 1230. "nan" and "inf" as they are.
std::string significant(double value, int digits = 3);

/// A duration as people read it: 350 µs, 12.3 ms, 4.56 s, 3 min 20 s, 2 h 05 min.
std::string duration(double seconds);

/// The time of day here in strftime's words: "%Y-%m-%d %H:%M:%S". At most 127 characters.
std::string local_time(const char* form);

/// A count with thin grouping: 1,234,567.
std::string grouped(long long count);

}  // namespace athanor::core
