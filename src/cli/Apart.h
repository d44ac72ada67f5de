#pragma once
#include <sys/types.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace athanor::cli {

/// Work in a process of its own, beside this one: a phantom GPU and a real CUDA device do not share a process. Make it
/// before this process touches CUDA. Not thread-safe.
class Apart {
 public:
  /// Starts `work` in a copy of this process. `name` says in errors whose work it is.
  Apart(std::string name, const std::function<nlohmann::json()>& work);
  /// Ends the work if nobody waited for it.
  ~Apart();
  Apart(const Apart&) = delete;
  Apart& operator=(const Apart&) = delete;

  /// Whether wait() would return at once.
  [[nodiscard]] bool ready() const;
  /// Waits for what `work` returned; once. What it threw comes through: std::invalid_argument as such, anything else,
  /// and a process that ended without an answer, as athanor::Error.
  nlohmann::json wait();

 private:
  void end() noexcept;

  std::string name_;
  pid_t child_ = -1;
  int answer_ = -1;
};

}  // namespace athanor::cli
