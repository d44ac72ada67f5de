// Lends the schedules to test_schedules.py: reads cases (JSON, one a line) from standard input, writes doubles to
// standard output. A case is {"spec": TOML, "steps": N, "base_lrs": […]} and gives, step by step, the rate of every
// group and then the momentum (NaN without one). With "metrics" the spec is a plateau; with "function" a schedule TOML
// cannot name; with "resume" the scheduler is saved at that step and a new one goes on.
#include <torch/torch.h>

#include <cmath>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "athanor/core/Config.h"
#include "athanor/optim/Scheduler.h"
#include "athanor/schedule/FromConfig.h"

namespace {

using namespace athanor;
using nlohmann::json;

void put(double value) {
  std::cout.write(reinterpret_cast<const char*>(&value), sizeof value);
}

schedule::Schedule named(const std::string& function) {
  using namespace schedule;
  if (function == "lambda") return lambda([](std::int64_t t) { return std::pow(0.95, static_cast<double>(t)); });
  if (function == "multiplicative")
    return multiplicative([](std::int64_t t) { return 1.0 - 1.0 / static_cast<double>(t + 10); });
  if (function == "constant_and_lambda")
    return chained({constant({.factor = 0.5, .total_iters = 3}),
                    lambda([](std::int64_t t) { return std::pow(0.9, static_cast<double>(t)); })});
  if (function == "cyclic_scale")
    return cyclic({.base_lr = 1e-3,
                   .max_lr = 1e-1,
                   .step_size_up = 17,
                   .step_size_down = 5,
                   .scale_fn = [](double x) { return 1.0 / (5.0 + x); },
                   .scale_mode = ScaleMode::cycle});
  return cyclic({.base_lr = 1e-3,
                 .max_lr = 1e-1,
                 .step_size_up = 17,
                 .step_size_down = 5,
                 .scale_fn = [](double x) { return 1.0 / (5.0 + x); },
                 .scale_mode = ScaleMode::iterations});
}

void pure(const schedule::Schedule& rate, const json& request) {
  const auto steps = request.at("steps").get<std::int64_t>();
  const auto base_lrs = request.at("base_lrs").get<std::vector<double>>();
  for (std::int64_t t = 0; t < steps; ++t) {
    std::optional<double> momentum;
    for (const double base : base_lrs) {
      const auto point = rate(t, base);
      put(point.lr);
      momentum = point.momentum;
    }
    put(momentum.value_or(std::numeric_limits<double>::quiet_NaN()));
  }
}

struct Groups {
  explicit Groups(const std::vector<double>& base_lrs) {
    for (const double lr : base_lrs) {
      auto parameter = torch::ones({1}, torch::requires_grad());
      groups.emplace_back(std::vector<torch::Tensor>{parameter}, std::make_unique<torch::optim::SGDOptions>(lr));
    }
  }
  std::vector<torch::optim::OptimizerParamGroup> groups;
};

void stepped(const schedule::Spec& spec, const json& request) {
  const auto base_lrs = request.at("base_lrs").get<std::vector<double>>();
  std::vector<double> metrics;
  for (const auto& metric : request.value("metrics", json::array()))  // JSON has neither infinity nor nan
    metrics.push_back(metric.is_null()     ? std::numeric_limits<double>::infinity()
                      : metric.is_string() ? std::numeric_limits<double>::quiet_NaN()
                                           : metric.get<double>());
  const auto steps = metrics.empty() ? request.at("steps").get<std::int64_t>() : std::ssize(metrics);
  const auto resume = request.value("resume", std::int64_t{-1});
  Groups groups(base_lrs);
  torch::optim::SGD optimizer(groups.groups, torch::optim::SGDOptions(1.0).momentum(0.9));
  optim::Scheduler scheduler(optimizer, spec);
  Groups others(base_lrs);
  torch::optim::SGD other(others.groups, torch::optim::SGDOptions(1.0).momentum(0.9));
  std::optional<optim::Scheduler> second;
  for (std::int64_t t = 0; t < steps; ++t) {
    if (t == resume) {
      second.emplace(other, spec);
      second->restore(json::parse(scheduler.state().dump()));
    }
    optim::Scheduler& current = second ? *second : scheduler;
    if (metrics.empty()) {
      for (const double lr : current.lrs()) put(lr);
      current.step();
    } else {
      current.step(metrics[static_cast<std::size_t>(t)]);
      for (const double lr : current.lrs()) put(lr);
    }
    put(std::numeric_limits<double>::quiet_NaN());
  }
}

void answer(const json& request) {
  if (request.contains("function")) return pure(named(request.at("function")), request);
  const auto config = core::Config::from_text(request.at("spec").get<std::string>(), "spec");
  const auto spec = schedule::spec_from_config(config);
  config.reject_unknown();
  if (request.contains("metrics") || request.contains("resume")) return stepped(spec, request);
  pure(std::get<schedule::Schedule>(spec.rule), request);
}

}  // namespace

int main() try {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) answer(json::parse(line));
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
