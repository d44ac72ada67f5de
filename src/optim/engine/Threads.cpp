#include "optim/engine/Threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "hwy/cache_control.h"

namespace athanor::optim::engine {
namespace {

// Every worker begins with a share of its own, the same at every call of as many tasks: what it left in its core's
// cache is still there. Then it takes what others have not begun.
class Job {
 public:
  Job(std::int64_t tasks, int workers, void (*body)(void*, std::int64_t), void* context)
      : body_(body), context_(context), shares_(static_cast<std::size_t>(workers)) {
    for (std::int64_t k = 0; k < workers; ++k) {
      Share& share = shares_[static_cast<std::size_t>(k)];
      share.next = tasks * k / workers;
      share.end = tasks * (k + 1) / workers;
    }
  }

  void work(std::size_t worker) {
    for (std::size_t k = 0; k < shares_.size(); ++k) {
      Share& share = shares_[(worker + k) % shares_.size()];
      for (std::int64_t task; (task = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;)
        body_(context_, task);
    }
  }

 private:
  struct alignas(64) Share {
    std::atomic<std::int64_t> next = 0;
    std::int64_t end = 0;
  };
  void (*body_)(void*, std::int64_t);
  void* context_;
  std::vector<Share> shares_;
};

// One for the process, like LibTorch's own pool, and never destroyed: a detached helper may outlive static destruction.
class Pool {
 public:
  void run(Job& job, int helpers) {
    {
      const std::lock_guard lock(mutex_);
      while (static_cast<int>(helpers_.size()) < helpers) start();
      send_elsewhere(helpers);
      job_ = &job;
      places_ = helpers;
      ++generation_;
    }
    wake_.notify_all();
    job.work(0);
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
  struct Helper {
    pthread_t thread{};
    int cpu = -1;  // where it last worked
  };

  void start() {
    Helper& helper = helpers_.emplace_back();
    std::thread thread([this, &helper, worker = helpers_.size()] { serve(helper, worker); });
    helper.thread = thread.native_handle();
    thread.detach();
  }

  // A thread that wakes is put where it last ran, even if the caller has come to run there since; the two would take
  // turns until the scheduler notices, which is after the step.
  void send_elsewhere(int helpers) {
    const int here = sched_getcpu();
    for (int i = 0; i < helpers; ++i) {
      Helper& helper = helpers_[static_cast<std::size_t>(i)];
      if (helper.cpu != here) continue;
      cpu_set_t others;
      if (sched_getaffinity(0, sizeof others, &others) != 0) return;
      CPU_CLR(here, &others);
      if (CPU_COUNT(&others) > 0) pthread_setaffinity_np(helper.thread, sizeof others, &others);
    }
  }

  void serve(Helper& helper, std::size_t worker) {
    std::unique_lock lock(mutex_);
    for (std::uint64_t seen = 0;;) {
      wake_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      if (job_ == nullptr || places_ == 0) continue;
      Job* job = job_;
      --places_;
      ++inside_;
      lock.unlock();
      job->work(worker);
      lock.lock();
      helper.cpu = sched_getcpu();
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
  std::deque<Helper> helpers_;   // whose places in memory stay
};

Pool& pool() {
  static Pool& instance = *new Pool;
  return instance;
}

}  // namespace

void parallel(std::int64_t tasks, int threads, void (*body)(void*, std::int64_t), void* context) {
  const int workers = static_cast<int>(std::clamp<std::int64_t>(tasks, 1, std::max(threads, 1)));
  if (workers > 1) {
    const std::unique_lock claim(pool().busy, std::try_to_lock);
    if (claim.owns_lock()) {
      Job job(tasks, workers, body, context);
      return pool().run(job, workers - 1);
    }
  }
  for (std::int64_t task = 0; task < tasks; ++task) body(context, task);
}

}  // namespace athanor::optim::engine
