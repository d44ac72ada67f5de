#include "optim/engine/Threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "hwy/cache_control.h"

namespace athanor::optim::engine {
namespace {

struct Job {
  std::int64_t tasks;
  void (*body)(void*, std::int64_t);
  void* context;
  std::atomic<std::int64_t> next = 0;

  void work() {
    for (std::int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) body(context, task);
  }
};

// One for the process, like LibTorch's own pool, and never destroyed: a detached helper may outlive static destruction.
class Pool {
 public:
  void run(Job& job, int helpers) {
    {
      const std::lock_guard lock(mutex_);
      for (; started_ < helpers; ++started_) std::thread([this] { serve(); }).detach();
      job_ = &job;
      places_ = helpers;
      ++generation_;
    }
    wake_.notify_all();
    job.work();
    {
      const std::lock_guard lock(mutex_);
      job_ = nullptr;  // a helper that wakes from now on finds nothing
    }
    // The others are at their last task: looking again for some microseconds is shorter than sleeping.
    for (int look = 0; look < 2000 && inside_.load(std::memory_order_acquire) != 0; ++look) hwy::Pause();
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return inside_ == 0; });
  }

  std::mutex busy;  // held by the caller whose job is on

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (std::uint64_t seen = 0;;) {
      wake_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      if (job_ == nullptr || places_ == 0) continue;
      Job* job = job_;
      --places_;
      ++inside_;
      lock.unlock();
      job->work();
      lock.lock();
      if (--inside_ == 0) idle_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  Job* job_ = nullptr;
  std::uint64_t generation_ = 0;
  int places_ = 0;
  std::atomic<int> inside_ = 0;  // changed under the mutex
  int started_ = 0;
};

Pool& pool() {
  static Pool& instance = *new Pool;
  return instance;
}

}  // namespace

void parallel(std::int64_t tasks, int threads, void (*body)(void*, std::int64_t), void* context) {
  Job job{.tasks = tasks, .body = body, .context = context};
  if (tasks > 1 && threads > 1) {
    const std::unique_lock claim(pool().busy, std::try_to_lock);
    if (claim.owns_lock()) {
      const auto helpers = static_cast<int>(std::min<std::int64_t>(threads, tasks)) - 1;
      return pool().run(job, helpers);
    }
  }
  job.work();
}

}  // namespace athanor::optim::engine
