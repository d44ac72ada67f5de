#pragma once
#include <stdexcept>
#include <string>

namespace athanor {

/// The world's failure: a file, a device, a format that came from outside. The message says what, where and what to do.
/// The caller's mistake is std::invalid_argument instead, thrown before any work.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace athanor
