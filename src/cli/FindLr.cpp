#include "athanor/train/FindLr.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "athanor/core/Format.h"
#include "cli/Picture.h"
#include "cli/TrainRun.h"
#include "cli/commands.h"

namespace athanor::cli {
namespace {

struct Flags {
  std::string config, svg;
  std::vector<std::string> set;
  schedule::RangeTestOptions test;
  bool linear = false;
};

// How the loss falls is what the picture is for: of how it diverges afterwards only the beginning is shown.
std::optional<double> highest_shown(const std::vector<schedule::RangePoint>& points) {
  const auto lower = [](const auto& a, const auto& b) { return a.smoothed < b.smoothed; };
  const auto lowest = std::min_element(points.begin(), points.end(), lower);
  if (lowest == points.begin()) return std::nullopt;  // it never fell
  const double highest = std::max_element(points.begin(), lowest, lower)->smoothed;
  return lowest->smoothed + 1.6 * (highest - lowest->smoothed);
}

plot::Chart chart_of(const schedule::RangeTestResult& result, const Flags& flags) {
  plot::Series raw{.name = "loss", .faint = true};
  plot::Series smoothed{.name = "smoothed"};
  std::optional<plot::Marker> suggestion;
  for (const auto& point : result.points) {
    raw.x.push_back(point.lr);
    raw.y.push_back(point.loss);
    smoothed.x.push_back(point.lr);
    smoothed.y.push_back(point.smoothed);
    if (result.suggestion == point.lr)
      suggestion = {.x = point.lr, .y = point.smoothed, .label = "suggestion " + core::significant(point.lr)};
  }
  plot::Chart chart{.title = "Learning-rate range test",
                    .x = {.label = "learning rate", .scale = flags.linear ? plot::Scale::linear : plot::Scale::log},
                    .y = {.label = "loss", .max = highest_shown(result.points)},
                    .lines = {std::move(raw), std::move(smoothed)}};
  if (suggestion) chart.markers.push_back(*suggestion);
  return chart;
}

nlohmann::json json_of(const schedule::RangeTestResult& result) {
  nlohmann::json points = nlohmann::json::array();
  for (const auto& point : result.points)
    points.push_back({{"lr", point.lr}, {"loss", point.loss}, {"smoothed", point.smoothed}});
  return {{"suggestion", result.suggestion ? nlohmann::json(*result.suggestion) : nlohmann::json(nullptr)},
          {"diverged", result.diverged},
          {"points", std::move(points)}};
}

std::string verdict(const schedule::RangeTestResult& result) {
  if (result.suggestion)
    return fmt::format(
        "suggestion: lr = {}, where the loss falls fastest{}", core::significant(*result.suggestion),
        result.diverged ? fmt::format("; it diverges beyond {}", core::significant(result.points.back().lr)) : "");
  return "no suggestion: the loss never fell; try more --steps, other --lr-min and --lr-max, or look at the data";
}

void run(const Flags& flags, Context& context) {
  auto options = flags.test;
  options.sweep = flags.linear ? schedule::Sweep::linear : schedule::Sweep::exponential;
  TrainFlags train_flags;
  train_flags.config = flags.config;
  train_flags.set = flags.set;
  TrainRun training(train_flags, context);
  const auto result = train::find_lr(*training.session, *training.train, 0, options);
  const auto chart = chart_of(result, flags);
  if (!flags.svg.empty()) write_picture(chart, flags.svg, context);
  if (context.json) {
    *context.out << json_of(result).dump() << '\n';
    return;
  }
  print_picture(chart, context);
  *context.out << verdict(result) << '\n';
}

}  // namespace

void add_find_lr(CLI::App& root, Context& context) {
  auto* command =
      root.add_subcommand("find-lr", "Tries rising learning rates and suggests one; trains nothing for good");
  auto flags = std::make_shared<Flags>();
  command->add_option("config", flags->config, "Configuration (TOML)")->required();
  command->add_option("--set", flags->set, "Overrides a key of the configuration: key=value")->allow_extra_args(false);
  auto& test = flags->test;
  command->add_option("--lr-min", test.lr_min, "The first rate")->capture_default_str();
  command->add_option("--lr-max", test.lr_max, "The last rate")->capture_default_str();
  command->add_option("--steps", test.steps, "Rates to try")->capture_default_str();
  command->add_flag("--linear", flags->linear, "Evenly spaced rates instead of evenly spaced logarithms");
  command->add_option("--smoothing", test.smoothing, "Of the loss's moving average, in [0, 1)")->capture_default_str();
  command->add_option("--divergence", test.divergence, "Stops at so many times the best loss")->capture_default_str();
  command->add_option("--svg", flags->svg, "Also writes the picture to this file");
  command->callback([flags, &context] { run(*flags, context); });
}

}  // namespace athanor::cli
