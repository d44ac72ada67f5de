#pragma once
#include <sys/types.h>
#include <termios.h>

#include <csignal>
#include <iosfwd>
#include <string>

namespace athanor::cli {

/// A terminal's second screen, redrawn in place. Leaving, by whatever way, gives the terminal back as it was: first
/// screen, cursor, echo, line wrap. Ctrl-Z suspends cleanly. Needs a terminal on standard output.
class LiveScreen {
 public:
  explicit LiveScreen(std::ostream& out);
  ~LiveScreen();
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;

  /// Shows text from the top; lines that do not fit the screen are cut, and the last one then says how many.
  void show(const std::string& text, int rows);

  enum class Event { elapsed, resized, quit, interrupted, terminated };
  /// Sleeps until the time is over, the terminal is resized, 'q' is pressed or a signal asks to stop.
  [[nodiscard]] Event wait(double seconds);

 private:
  void enter();
  void leave();
  void suspend();

  std::ostream& out_;
  sigset_t old_mask_{};
  termios old_terminal_{};
  bool has_keyboard_ = false;
  int signals_ = -1;
};

}  // namespace athanor::cli
