#pragma once
#include <cstdint>

namespace athanor::optim::engine {

/// Calls body(context, i) for every i in [0, tasks), on the calling thread and up to threads - 1 sleeping helpers.
/// Each begins with a share of its own and then claims others' tasks one by one, so a helper that is late or starved
/// costs nothing. Helpers never spin: on shared cores
/// they would take time from the LibTorch threads. Safe from any thread; a second caller at the same time works alone.
/// body must not throw.
void parallel(std::int64_t tasks, int threads, void (*body)(void* context, std::int64_t task), void* context);

template <class Body>
void parallel(std::int64_t tasks, int threads, Body body) {
  parallel(
      tasks, threads, [](void* context, std::int64_t task) { (*static_cast<Body*>(context))(task); }, &body);
}

}  // namespace athanor::optim::engine
