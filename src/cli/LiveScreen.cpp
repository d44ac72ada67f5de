#include "cli/LiveScreen.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <ostream>

namespace athanor::cli {
namespace {

// xterm's control sequences: second screen, cursor, line wrap.
constexpr const char* kEnter = "\033[?1049h\033[?25l\033[?7l\033[2J";
constexpr const char* kLeave = "\033[?7h\033[?25h\033[?1049l";

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP}) sigaddset(&set, signal);
  return set;
}

}  // namespace

// Signals come as data to read (signalfd), so nothing runs in the middle of a drawing.
LiveScreen::LiveScreen(std::ostream& out) : out_(out) {
  const sigset_t watched = watched_signals();
  pthread_sigmask(SIG_BLOCK, &watched, &old_mask_);
  signals_ = signalfd(-1, &watched, SFD_NONBLOCK | SFD_CLOEXEC);
  has_keyboard_ = tcgetattr(STDIN_FILENO, &old_terminal_) == 0;
  enter();
}

LiveScreen::~LiveScreen() {
  leave();
  if (signals_ >= 0) close(signals_);
  pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr);
}

void LiveScreen::enter() {
  if (has_keyboard_) {
    termios quiet = old_terminal_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
    tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
  }
  out_ << kEnter << std::flush;
}

void LiveScreen::leave() {
  out_ << kLeave << std::flush;
  if (has_keyboard_) tcsetattr(STDIN_FILENO, TCSAFLUSH, &old_terminal_);
}

void LiveScreen::suspend() {
  leave();
  kill(getpid(), SIGSTOP);
  enter();
}

void LiveScreen::show(const std::string& text, int rows) {
  const auto lines = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  const int shown = lines <= rows ? lines : std::max(rows - 1, 0);
  std::string frame = "\033[H";
  std::size_t begin = 0;
  for (int i = 0; i < shown; ++i) {
    const auto end = text.find('\n', begin);
    frame += (i > 0 ? "\r\n" : "") + text.substr(begin, end - begin) + "\033[K";
    begin = end + 1;
  }
  if (shown < lines) frame += fmt::format("\r\n({} more lines)\033[K", lines - shown);
  out_ << frame << "\033[J" << std::flush;
}

LiveScreen::Event LiveScreen::wait(double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(seconds);
  while (true) {
    const double left = std::chrono::duration<double>(until - Clock::now()).count();
    if (left <= 0) return Event::elapsed;
    std::array<pollfd, 2> sources{{{signals_, POLLIN, 0}, {has_keyboard_ ? STDIN_FILENO : -1, POLLIN, 0}}};
    if (poll(sources.data(), sources.size(), static_cast<int>(std::ceil(left * 1000))) <= 0) continue;
    if (char key = 0; (sources[1].revents & POLLIN) != 0) {
      const ssize_t count = read(STDIN_FILENO, &key, 1);
      if (count == 1 && (key == 'q' || key == 'Q')) return Event::quit;
      if (count <= 0) has_keyboard_ = false;
    } else if ((sources[1].revents & (POLLHUP | POLLERR)) != 0) {
      return Event::terminated;
    }
    signalfd_siginfo info{};
    if ((sources[0].revents & POLLIN) == 0 || read(signals_, &info, sizeof(info)) != sizeof(info)) continue;
    switch (info.ssi_signo) {
      case SIGINT:
        return Event::interrupted;
      case SIGWINCH:
        return Event::resized;
      case SIGTSTP:
        suspend();
        return Event::resized;
      default:
        return Event::terminated;
    }
  }
}

}  // namespace athanor::cli
