// What a schedule's evaluation and a scheduler's step cost. Prints {"name": seconds per call} as JSON.
#include <torch/torch.h>

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "athanor/optim/Scheduler.h"

namespace {

using namespace athanor;

double evaluation(const schedule::Schedule& rate) {
  constexpr std::int64_t kCalls = 1'000'000;
  double sum = 0.0;
  const auto begin = std::chrono::steady_clock::now();
  for (std::int64_t t = 0; t < kCalls; ++t) sum += rate(t % 10'000, 1e-3).lr;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  if (sum < 0.0) std::cerr << sum;  // so that it is computed
  return seconds.count() / static_cast<double>(kCalls);
}

// `spread`: every group has a base rate of its own, as with a decay by layer.
double stepping(std::size_t groups, double spread = 1.0) {
  std::vector<torch::optim::OptimizerParamGroup> all;
  double lr = 1e-3;
  for (std::size_t i = 0; i < groups; ++i, lr *= spread)
    all.emplace_back(std::vector<torch::Tensor>{torch::ones({1}, torch::requires_grad())},
                     std::make_unique<torch::optim::SGDOptions>(lr));
  torch::optim::SGD optimizer(all, torch::optim::SGDOptions(1e-3));
  optim::Scheduler scheduler(optimizer, schedule::cosine_annealing({.t_max = 10'000}));
  constexpr int kCalls = 10'000;
  const auto begin = std::chrono::steady_clock::now();
  for (int t = 0; t < kCalls; ++t) scheduler.step();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  return seconds.count() / kCalls;
}

}  // namespace

int main() {
  using namespace schedule;
  const Schedule nested = sequential(
      {linear_warmup({.steps = 500}), chained({cosine_annealing({.t_max = 9500}), exponential({.gamma = 0.9999}),
                                               sequential({fixed(), step({.step_size = 100})}, {50})})},
      {500});
  const nlohmann::json results{{"step", evaluation(step({.step_size = 100, .gamma = 0.9}))},
                               {"cosine", evaluation(cosine_annealing({.t_max = 10'000}))},
                               {"one_cycle", evaluation(one_cycle({.total_steps = 10'000}))},
                               {"nested", evaluation(nested)},
                               {"groups_1", stepping(1)},
                               {"groups_100", stepping(100)},
                               {"groups_100_rates", stepping(100, 0.99)}};
  std::cout << results.dump() << '\n';
}
