#pragma once
#include <chrono>
#include <iosfwd>
#include <memory>

#include "athanor/train/Event.h"

namespace athanor::train {

struct ProgressOptions {
  bool live = false;  ///< A terminal: one line that is rewritten; else whole lines, no carriage returns.
  int columns = 80;   ///< Of the terminal; a live line is cut there.
  double seconds_between_lines = 10.0;  ///< Of a log: a line of training at most this often. Validations always show.
};

/// Tells people how a run goes: step, rate, time left, loss, learning rate, the last validation. An observer.
class Progress {
 public:
  /// The stream outlives it.
  explicit Progress(std::ostream& out, ProgressOptions options = {});

  void operator()(const Event& event);

 private:
  void show(const Event& event);
  void line(const std::string& text);
  [[nodiscard]] std::string status(const Event& event) const;

  std::ostream* out_;
  ProgressOptions options_;
  std::chrono::steady_clock::time_point last_line_;
  Metrics training_;
  Metrics validation_;
  bool live_line_shown_ = false;
};

}  // namespace athanor::train
