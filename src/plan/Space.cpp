#include "athanor/plan/Space.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace athanor::plan {

bool Space::allows(const Settings& settings) const {
  if (settings.optimizer_in_backward && settings.accumulate > 1) return false;
  return !allowed || allowed(settings);
}

void Space::check() const {
  const auto fail = [](const std::string& what) { throw std::invalid_argument("plan: " + what); };
  if (micro_batches.empty() || checkpointing.empty() || offload.empty() || optimizer_in_backward.empty() ||
      precisions.empty() || chunked_loss.empty() || optimizer_states.empty())
    fail("every list of the space needs a value");
  if (effective_batch < 1) fail(fmt::format("effective_batch must be >= 1, got {}", effective_batch));
  for (const auto micro : micro_batches)
    if (micro < 1 || effective_batch % micro != 0)
      fail(fmt::format("a micro-batch of {} does not divide the effective batch of {}: accumulation would change it",
                       micro, effective_batch));
}

std::vector<Settings> Space::all() const {
  check();
  std::vector<Settings> result;
  for (const auto& precision : precisions)
    for (const bool chunked : chunked_loss)
      for (const auto& states : optimizer_states)
        for (const bool in_backward : optimizer_in_backward)
          for (const auto& offloaded : offload)
            for (const auto micro : micro_batches)
              for (const auto& policy : checkpointing) {
                const Settings settings{
                    micro, effective_batch / micro, precision, policy, chunked, in_backward, states, offloaded};
                if (allows(settings)) result.push_back(settings);
              }
  return result;
}

std::vector<std::int64_t> divisors(std::int64_t effective_batch) {
  std::vector<std::int64_t> result;
  for (std::int64_t d = effective_batch; d >= 1; --d)
    if (effective_batch % d == 0) result.push_back(d);
  return result;
}

std::vector<std::string> checkpointing_of(std::int64_t blocks, std::int64_t most) {
  std::vector<std::string> result{"off"};
  const std::int64_t count = std::min(blocks - 1, most - 1);
  for (std::int64_t i = 1; i <= count; ++i) result.push_back(fmt::format("first:{}", i * (blocks - 1) / count));
  if (blocks > 0) result.emplace_back("all");
  return result;
}

}  // namespace athanor::plan
