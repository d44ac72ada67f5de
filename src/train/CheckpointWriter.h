#pragma once
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace athanor::train {

/// A thread that does jobs in order. A job has two parts: reading what it was given, and the rest (syncing to disk).
class BackgroundWriter {
 public:
  struct Job {
    std::function<void()> read;    ///< After it, the caller's tensors are no longer needed.
    std::function<void()> finish;  ///< Not run if read failed.
  };

  BackgroundWriter();
  ~BackgroundWriter();

  /// Waits while as many jobs as `room` are not done.
  void add(Job job, std::size_t room = 2);
  void wait_until_read();
  /// Waits until nothing is left to do; rethrows the first failure since the last call.
  void wait();
  /// Rethrows a failure without waiting.
  void check();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool reading_ = false, finishing_ = false, closing_ = false;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace athanor::train
