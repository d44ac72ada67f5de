#pragma once
#include <csignal>

namespace athanor::train {

/// While it lives, the first SIGINT or SIGTERM is only noted, so that a run can write a checkpoint and leave; a second
/// one ends the process at once, with 130 or 143. The handlers that were there come back at the end. One at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  /// The signal that came, or 0.
  [[nodiscard]] int signal() const;
  /// 128 + the signal: what the process should exit with; 0 if none came.
  [[nodiscard]] int exit_code() const { return signal() == 0 ? 0 : 128 + signal(); }

 private:
  struct sigaction old_interrupt_;
  struct sigaction old_terminate_;
};

}  // namespace athanor::train
