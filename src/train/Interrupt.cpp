#include "athanor/train/Interrupt.h"

#include <unistd.h>

namespace athanor::train {
namespace {

volatile std::sig_atomic_t noted = 0;  // a signal handler can reach nothing else

extern "C" void note(int signal) {
  if (noted != 0) _exit(128 + signal);
  noted = signal;
}

}  // namespace

Interrupt::Interrupt() : old_interrupt_{}, old_terminate_{} {
  noted = 0;
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &old_interrupt_);
  sigaction(SIGTERM, &action, &old_terminate_);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &old_interrupt_, nullptr);
  sigaction(SIGTERM, &old_terminate_, nullptr);
}

int Interrupt::signal() const {
  return noted;
}

}  // namespace athanor::train
