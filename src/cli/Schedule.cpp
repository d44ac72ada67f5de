#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Format.h"
#include "athanor/schedule/FromConfig.h"
#include "cli/Picture.h"
#include "cli/commands.h"

namespace athanor::cli {
namespace {

using schedule::Point;

constexpr std::int64_t kMostDrawn = 20'000;        // points of a picture; more than a screen has
constexpr std::int64_t kMostPrinted = 50'000'000;  // lines of CSV or JSON: a typing mistake, not a wish

struct Flags {
  std::string config, spec, metrics, svg;
  std::vector<std::string> set;
  std::int64_t steps = 0;
  double base_lr = 0.0;
  bool csv = false;
};

// What is to be shown, from a configuration or a spec.
struct Subject {
  schedule::Spec spec;
  double base_lr = 1e-3;
  std::int64_t run_steps = 0;  // 0: not known
};

schedule::Spec read_spec(const std::string& text, std::optional<std::int64_t> run_steps) {
  // A table on one line, { kind = "step", step_size = 2 }, needs a key in front to be TOML.
  const bool in_line =
      text.find_first_not_of(" \t\n") != std::string::npos && text[text.find_first_not_of(" \t\n")] == '{';
  const auto whole = core::Config::from_text(in_line ? "spec = " + text : text, "--spec");
  const auto table = in_line ? whole.table("spec") : whole;
  auto spec = schedule::spec_from_config(table, run_steps);
  table.reject_unknown();
  return spec;
}

Subject subject_of(const Flags& flags) {
  if (flags.config.empty() == flags.spec.empty())
    throw std::invalid_argument("schedule: give a configuration file or --spec, one of the two");
  const auto asked = flags.steps > 0 ? std::optional(flags.steps) : std::nullopt;
  if (!flags.spec.empty()) return {read_spec(flags.spec, asked), flags.base_lr > 0.0 ? flags.base_lr : 1e-3, 0};
  const auto config = core::Config::from_file(flags.config, flags.set);
  const auto table = config.table("schedule");
  const auto max_steps = config.table("train").integer("max_steps", 0);
  Subject subject{schedule::spec_from_config(table, max_steps > 0 ? std::optional(max_steps) : asked)};
  table.reject_unknown();
  subject.base_lr = flags.base_lr > 0.0 ? flags.base_lr : config.table("optimizer").number("lr", 1e-3);
  subject.run_steps =
      subject.spec.interval == schedule::Interval::epoch ? config.table("train").integer("max_epochs", 0) : max_steps;
  return subject;
}

// The metrics of a file: numbers apart by white space, commas or lines, '#' begins a comment; or a run's metrics.csv,
// of which the monitored metric is taken.
std::vector<double> read_metrics(const std::string& path, const std::string& monitor) {
  std::istringstream text(core::read_file(path, std::size_t{64} << 20));
  std::vector<double> metrics;
  std::string line;
  const bool of_a_run = text.str().starts_with("step,epoch,split,name,value");
  if (of_a_run) std::getline(text, line);
  for (std::int64_t number = of_a_run ? 2 : 1; std::getline(text, line); ++number) {
    line.resize(std::min(line.find('#'), line.size()));
    if (of_a_run) {
      std::istringstream cells(line);
      std::string step, epoch, split, name, value;
      for (std::string* cell : {&step, &epoch, &split, &name, &value}) std::getline(cells, *cell, ',');
      if (split + "_" + name != monitor && name != monitor) continue;
      line = value;
    }
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      char* end = nullptr;
      metrics.push_back(std::strtod(word.c_str(), &end));
      if (end != word.c_str() + word.size() || std::isnan(metrics.back()))
        throw std::invalid_argument(fmt::format("{}:{}: '{}' is not a metric", path, number, word));
    }
  }
  if (metrics.empty())
    throw std::invalid_argument(fmt::format("{}: holds no values{}", path, of_a_run ? " of " + monitor : ""));
  return metrics;
}

// Rates by step, whichever rule they come from.
class Rates {
 public:
  Rates(const Subject& subject, const Flags& flags, const Context& context) : base_lr_(subject.base_lr) {
    if (const auto* pure = std::get_if<schedule::Schedule>(&subject.spec.rule)) {
      if (!flags.metrics.empty())
        throw std::invalid_argument("schedule: --metrics is for reduce_on_plateau; '" + pure->name() +
                                    "' follows the step");
      pure_ = *pure;
      if (subject.run_steps > 0) pure->check_length(subject.run_steps);
      if (flags.steps > 0) pure->check_length(flags.steps);
      count_ = flags.steps > 0         ? flags.steps
               : subject.run_steps > 0 ? subject.run_steps
                                       : std::max<std::int64_t>(pure->horizon(), 2);
      (void)(*pure)(0, base_lr_);
      return;
    }
    auto options = std::get<schedule::ReduceOnPlateauOptions>(subject.spec.rule);
    if (flags.metrics.empty())
      throw std::invalid_argument("schedule: reduce_on_plateau follows a metric; give its values with --metrics FILE");
    if (options.verbose && !context.quiet)
      options.on_reduction = [&context](const schedule::Reduction& done) {
        *context.err << fmt::format("observation {}: the learning rate goes from {:.6g} to {:.6g}\n", done.observation,
                                    done.from, done.to);
      };
    schedule::ReduceOnPlateau plateau(options);
    after_.push_back(base_lr_);
    for (const double metric : read_metrics(flags.metrics, subject.spec.monitor)) {
      if (flags.steps > 0 && std::ssize(after_) >= flags.steps) break;
      after_.push_back(plateau.observe(metric, after_.back()));
    }
    count_ = std::ssize(after_);
  }

  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] bool has_momentum() const { return pure_ && pure_->moves_momentum(); }
  [[nodiscard]] Point at(std::int64_t step) const {
    if (pure_) return (*pure_)(step, base_lr_);
    return {after_[static_cast<std::size_t>(step)], std::nullopt};
  }

 private:
  double base_lr_;
  std::optional<schedule::Schedule> pure_;
  std::vector<double> after_;  // of a plateau: the rate after so many observations
  std::int64_t count_ = 0;
};

std::string kind_of(const schedule::Spec& spec) {
  if (const auto* pure = std::get_if<schedule::Schedule>(&spec.rule)) return pure->name();
  return "reduce_on_plateau";
}

plot::Chart chart_of(const Rates& rates, const Subject& subject, bool momentum) {
  const char* unit = subject.spec.interval == schedule::Interval::epoch ? "epoch" : "step";
  plot::Series series{.stepped = rates.count() <= 500};
  const auto stride = std::max<std::int64_t>(1, rates.count() / kMostDrawn);
  const auto add = [&](std::int64_t t) {
    const Point point = rates.at(t);
    if (momentum && !point.momentum) return;
    series.x.push_back(static_cast<double>(t));
    series.y.push_back(momentum ? *point.momentum : point.lr);
  };
  for (std::int64_t t = 0; t < rates.count(); t += stride) add(t);
  if ((rates.count() - 1) % stride != 0) add(rates.count() - 1);
  return {.title = momentum ? "momentum" : kind_of(subject.spec),
          .subtitle = momentum ? ""
                               : fmt::format("base rate {}, {} {}s, last {}", core::significant(subject.base_lr),
                                             core::grouped(rates.count()), unit,
                                             core::significant(rates.at(rates.count() - 1).lr)),
          .x = {.label = unit},
          .y = {.label = momentum ? "" : "learning rate"},
          .lines = {std::move(series)}};
}

void print_csv(const Rates& rates, std::ostream& out) {
  const bool momentum = rates.has_momentum();
  out << (momentum ? "step,lr,momentum\n" : "step,lr\n");
  for (std::int64_t t = 0; t < rates.count(); ++t) {
    const Point point = rates.at(t);
    if (!momentum)
      out << fmt::format("{},{:.17g}\n", t, point.lr);
    else if (point.momentum)
      out << fmt::format("{},{:.17g},{:.17g}\n", t, point.lr, *point.momentum);
    else  // a part of the whole that leaves momentum alone
      out << fmt::format("{},{:.17g},\n", t, point.lr);
  }
}

nlohmann::json json_of(const Rates& rates, const Subject& subject) {
  nlohmann::json points = nlohmann::json::array();
  for (std::int64_t t = 0; t < rates.count(); ++t) {
    const Point point = rates.at(t);
    nlohmann::json entry{{"step", t}, {"lr", point.lr}};
    if (point.momentum) entry["momentum"] = *point.momentum;
    points.push_back(std::move(entry));
  }
  return {{"kind", kind_of(subject.spec)},
          {"interval", subject.spec.interval == schedule::Interval::epoch ? "epoch" : "step"},
          {"base_lr", subject.base_lr},
          {"points", std::move(points)}};
}

void run(const Flags& flags, const Context& context) {
  if (flags.steps < 0 || flags.steps > kMostPrinted)
    throw std::invalid_argument(fmt::format("--steps must be in 1 … {}, got {}", kMostPrinted, flags.steps));
  if (!(flags.base_lr >= 0.0) || !std::isfinite(flags.base_lr))
    throw std::invalid_argument(fmt::format("--base-lr must be > 0, got {}", flags.base_lr));
  const Subject subject = subject_of(flags);
  const Rates rates(subject, flags, context);
  if ((flags.csv || context.json) && rates.count() > kMostPrinted)
    throw std::invalid_argument(
        fmt::format("schedule: {} steps are too many to print; give --steps", core::grouped(rates.count())));
  if (!flags.svg.empty()) write_picture(chart_of(rates, subject, false), flags.svg, context);
  if (context.json) {
    *context.out << json_of(rates, subject).dump() << '\n';
  } else if (flags.csv) {
    print_csv(rates, *context.out);
  } else {
    print_picture(chart_of(rates, subject, false), context);
    if (rates.has_momentum()) print_picture(chart_of(rates, subject, true), context);
  }
}

}  // namespace

void add_schedule(CLI::App& root, Context& context) {
  auto* command = root.add_subcommand("schedule", "Prints or draws a learning-rate schedule");
  auto flags = std::make_shared<Flags>();
  command->add_option("config", flags->config, "Configuration whose [schedule] is shown");
  command->add_option("--spec", flags->spec,
                      "A [schedule] table in TOML instead: '{ kind = \"step\", step_size = 2 }'");
  command->add_option("--set", flags->set, "Overrides a key of the configuration: key=value")->allow_extra_args(false);
  command->add_option("--steps", flags->steps, "How many steps (default: as many as show the whole of it)");
  command->add_option("--base-lr", flags->base_lr, "The base rate (default: optimizer.lr, or 0.001)");
  command->add_option("--metrics", flags->metrics, "For reduce_on_plateau: a file of metric values, or a metrics.csv");
  command->add_flag("--csv", flags->csv, "Prints step,lr or step,lr,momentum with 17 digits");
  command->add_option("--svg", flags->svg, "Also writes the picture to this file");
  command->callback([flags, &context] { run(*flags, context); });
}

}  // namespace athanor::cli
