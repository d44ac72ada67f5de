#include "train/CheckpointWriter.h"

#include <csignal>
#include <utility>

namespace athanor::train {

BackgroundWriter::BackgroundWriter() {
  // Signals are the training thread's to take.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

BackgroundWriter::~BackgroundWriter() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BackgroundWriter::add(Job job, std::size_t room) {
  check();
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return jobs_.size() + (reading_ || finishing_ ? 1U : 0U) < room; });
    jobs_.push_back(std::move(job));
  }
  changed_.notify_all();
}

void BackgroundWriter::wait_until_read() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return jobs_.empty() && !reading_; });
}

void BackgroundWriter::wait() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return jobs_.empty() && !reading_ && !finishing_; });
  }
  check();
}

void BackgroundWriter::check() {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void BackgroundWriter::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    reading_ = true;
    const auto attempt = [&](const std::function<void()>& part) {
      lock.unlock();
      std::exception_ptr failure;
      try {
        part();
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (failure && !failure_) failure_ = failure;
      return !failure;
    };
    const bool read = attempt(job.read);
    finishing_ = true;
    reading_ = false;
    changed_.notify_all();
    if (read) attempt(job.finish);
    job = {};
    finishing_ = false;
    changed_.notify_all();
  }
}

}  // namespace athanor::train
