// bench_optimizer_curves curves OUT_JSON TEXT STEPS PICTURES: every optimizer on a small convolutional network
// (Fashion-MNIST) and a small GPT (characters of a text), at the best of a few rates each, and the pictures of
// docs/optimizers.md.
// bench_optimizer_curves eight-bit OUT_JSON TEXT STEPS: AdamW and Lion with 8-bit state against float on the GPT, over
// three seeds, to the end of a schedule; and the same AdamW at a rate 1 % higher, to see how far apart equals end.
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "athanor/core/Config.h"
#include "athanor/data/Loader.h"
#include "athanor/data/Open.h"
#include "athanor/models/Registry.h"
#include "athanor/optim/Factory.h"
#include "athanor/optim/Optimizer.h"
#include "athanor/optim/Scheduler.h"
#include "athanor/plot/Chart.h"
#include "athanor/schedule/Warmup.h"

namespace {

using athanor::core::Config;

struct Problem {
  std::string name;
  std::string model;
  std::string data;
  double init_scale;  // of the weights, against the model's own
  athanor::data::Splits splits;

  Problem(std::string label, std::string model_toml, std::string data_toml, double init_factor = 1)
      : name(std::move(label)), model(std::move(model_toml)), data(std::move(data_toml)), init_scale(init_factor) {
    splits = athanor::data::open(Config::from_text(data, "data"), 1);
  }
};

// The mean loss of each twentieth of the run, the last one at the end.
std::vector<double> curve(const Problem& problem, const std::string& optimizer, int steps, int seed,
                          bool scheduled = false) {
  torch::manual_seed(seed);
  auto model = athanor::models::Registry::builtin().make(Config::from_text(problem.model, "model"));
  {
    const torch::NoGradGuard no_grad;
    for (auto& weight : model.module->parameters())
      if (weight.dim() > 1) weight.mul_(problem.init_scale);
  }
  const auto made = athanor::optim::make_optimizer(Config::from_text(optimizer, "optimizer"), *model.module);
  const auto options = athanor::data::loader_options(Config::from_text(problem.data, "data"),
                                                     static_cast<std::uint64_t>(seed), *problem.splits.train);
  athanor::data::Loader loader(problem.splits.train, options);
  std::optional<athanor::optim::Scheduler> scheduler;
  if (scheduled)  // down to 0, so that a run ends where it stays
    scheduler.emplace(*made, athanor::schedule::warmup_cosine({.warmup_steps = 50, .total_steps = steps}));
  std::int64_t epoch = 0;
  loader.start_epoch(epoch);
  std::vector<double> means;
  double sum = 0;
  const int window = std::max(1, steps / 20);
  for (int step = 1; step <= steps; ++step) {
    auto batch = loader.next();
    if (!batch) {
      loader.start_epoch(++epoch);
      batch = loader.next();
    }
    const at::Tensor loss = made->step([&] {
      made->zero_grad();
      const at::Tensor output = model.forward(batch->inputs);
      at::Tensor value = torch::cross_entropy_loss(output.reshape({-1, output.size(-1)}), batch->targets.reshape({-1}));
      value.backward();
      return value;
    });
    if (scheduler) scheduler->step();
    sum += loss.item<double>();
    if (step % window == 0) means.push_back(std::exchange(sum, 0) / window);
    if (!std::isfinite(loss.item<double>())) break;
  }
  return means;
}

struct Candidate {
  std::string kind;
  std::vector<double> rates;
  std::string rest;
};

const std::vector<Candidate> candidates = {
    {"sgd", {0.03, 0.1, 0.3}, "momentum = 0.9"},
    {"adam", {1e-3, 3e-3, 1e-2}, ""},
    {"adamw", {1e-3, 3e-3, 1e-2}, ""},
    {"adamw8bit", {1e-3, 3e-3, 1e-2}, ""},
    {"rmsprop", {3e-4, 1e-3, 3e-3}, ""},
    {"adagrad", {1e-2, 3e-2, 0.1}, ""},
    {"adadelta", {1.0, 3.0, 10.0}, ""},
    {"adamax", {1e-3, 3e-3, 1e-2}, ""},
    {"nadam", {1e-3, 3e-3, 1e-2}, ""},
    {"radam", {1e-3, 3e-3, 1e-2}, ""},
    {"ademamix", {3e-4, 1e-3, 3e-3}, "betas = [0.9, 0.999, 0.99]"},
    {"asgd", {0.1, 0.3, 1.0}, ""},
    {"rprop", {1e-4, 1e-3, 1e-2}, ""},
    {"lion", {1e-4, 3e-4, 1e-3}, ""},
    {"lion8bit", {1e-4, 3e-4, 1e-3}, ""},
    {"lamb", {3e-3, 1e-2, 3e-2}, ""},
    {"lars", {1.0, 3.0, 10.0}, "trust_coefficient = 0.01"},
    {"adam_mini", {1e-3, 3e-3, 1e-2}, ""},
    {"adafactor", {1e-2, 3e-2, 0.1}, ""},
    {"muon", {1e-3, 3e-3, 1e-2}, "adjust_lr_fn = 'match_rms_adamw'\nweight_decay = 0.01"},
    {"schedule_free_adamw", {1e-3, 3e-3, 1e-2}, "warmup_steps = 20"},
    {"schedule_free_sgd", {0.3, 1.0, 3.0}, "warmup_steps = 20"},
};

std::string toml(const Candidate& candidate, double rate) {
  char text[64];
  std::snprintf(text, sizeof text, "lr = %.17g\n", rate);
  return "kind = '" + candidate.kind + "'\n" + text + candidate.rest;
}

// The best run of each kind. Names for all would be a crowd, so a few kinds are named, the rest is pale; the named come
// last, so they lie on top and no two share a colour.
void draw(const nlohmann::json& curves, const std::string& path) {
  for (const auto& [problem, kinds] : curves.items()) {
    athanor::plot::Chart chart{
        .title = problem, .x = {.label = "step, in twentieths of the run"}, .y = {.label = "loss"}};
    double first = 0;
    for (const auto& [kind, runs] : kinds.items()) {
      std::vector<double> best;
      for (const auto& run : runs) {
        const auto losses = run["losses"].get<std::vector<double>>();
        if (losses.size() == 20 && (best.empty() || losses.back() < best.back())) best = losses;
      }
      if (best.empty()) continue;
      first = std::max(first, best.front());
      athanor::plot::Series line{.name = kind, .y = best, .faint = true};
      for (const char* named : {"sgd", "adamw", "adamw8bit", "lion", "muon", "adafactor", "schedule_free_adamw"})
        if (kind == named) line.faint = false;
      if (line.faint) line.name.clear();
      for (int i = 1; i <= 20; ++i) line.x.push_back(i);
      chart.lines.push_back(std::move(line));
    }
    std::stable_partition(chart.lines.begin(), chart.lines.end(), [](const auto& line) { return line.faint; });
    chart.y.max = first;
    std::ofstream(path + (problem == "small GPT" ? "-gpt.svg" : "-cnn.svg"))
        << chart.svg({.width = 760, .height = 380});
  }
}

nlohmann::json all_curves(const std::vector<Problem>& problems, int steps) {
  nlohmann::json out;
  for (const auto& problem : problems)
    for (const auto& candidate : candidates)
      for (const double rate : candidate.rates) {
        const auto losses = curve(problem, toml(candidate, rate), steps, 1);
        out[problem.name][candidate.kind].push_back({{"lr", rate}, {"losses", losses}});
        std::fprintf(stderr, "%s %s %g: %.4f\n", problem.name.c_str(), candidate.kind.c_str(), rate, losses.back());
      }
  return out;
}

nlohmann::json eight_bit(const Problem& problem, int steps) {
  const std::pair<const char*, const char*> settings[] = {{"adamw", "kind = 'adamw'\nlr = 0.003"},
                                                          {"adamw8bit", "kind = 'adamw8bit'\nlr = 0.003"},
                                                          {"adamw, rate 1 % higher", "kind = 'adamw'\nlr = 0.00303"},
                                                          {"lion", "kind = 'lion'\nlr = 0.0003"},
                                                          {"lion8bit", "kind = 'lion8bit'\nlr = 0.0003"}};
  nlohmann::json out;
  for (int seed = 1; seed <= 3; ++seed)
    for (const auto& [name, toml] : settings) {
      const auto losses = curve(problem, toml, steps, seed, /*scheduled=*/true);
      out[name].push_back(losses.back());
      std::fprintf(stderr, "seed %d, %s: %.4f\n", seed, name, losses.back());
    }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (!(what == "curves" && argc == 6) && !(what == "eight-bit" && argc == 5)) {
    std::fprintf(stderr,
                 "usage: bench_optimizer_curves curves OUT_JSON TEXT STEPS PICTURES\n"
                 "       bench_optimizer_curves eight-bit OUT_JSON TEXT STEPS\n");
    return 2;
  }
  const int steps = std::stoi(argv[4]);
  const Problem gpt(
      "small GPT", "kind = 'gpt'\nlayers = 2\nheads = 2\nwidth = 64\nblock = 32\ndropout = 0.0\nvocabulary = 256",
      "kind = 'text'\nbatch_size = 16\nblock = 32\npath = '" + std::string(argv[3]) + "'",
      // GPT-2's deviation of 0.02 is for a width of 768. At 64 it makes a plateau, which runs leave when chance has it.
      std::sqrt(768.0 / 64.0));
  nlohmann::json out;
  if (what == "curves") {
    out = all_curves({{"fashion-cnn", "kind = 'cnn'\nwidths = [8, 16]", "kind = 'idx-images'\nbatch_size = 64"}, gpt},
                     steps);
    draw(out, argv[5]);
  } else {
    out = eight_bit(gpt, steps);
  }
  std::ofstream(argv[2]) << out.dump(1) << '\n';
}
