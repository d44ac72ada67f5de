#include "athanor/schedule/FromConfig.h"

#include <array>
#include <map>

#include "schedule/Rule.h"

namespace athanor::schedule {
namespace {

using core::Config;

constexpr int kDeepest = 32;  // levels of nesting: far more than anyone writes, far fewer than a stack holds

struct Reader {
  std::optional<std::int64_t> run_steps;
  int depth = 0;

  [[nodiscard]] Schedule schedule(const Config& table) const;
  [[nodiscard]] std::vector<Schedule> parts(const Config& table) const;
};

std::int64_t needed_integer(const Config& table, const std::string& key) {
  if (const auto value = table.optional_integer(key)) return *value;
  table.reject("kind", fmt::format("= '{}' needs the key '{}'", table.text("kind", ""), key));
}

double needed_number(const Config& table, const std::string& key) {
  if (const auto value = table.optional_number(key)) return *value;
  table.reject("kind", fmt::format("= '{}' needs the key '{}'", table.text("kind", ""), key));
}

// A length that the run itself can tell.
std::int64_t run_length(const Config& table, const std::string& key, const Reader& reader) {
  if (const auto value = table.optional_integer(key)) return *value;
  if (reader.run_steps) return *reader.run_steps;
  return needed_integer(table, key);
}

template <class Choice, std::size_t n>
Choice choice(const Config& table, const std::string& key,
              const std::array<std::pair<std::string, Choice>, n>& allowed) {
  std::vector<std::string> names;
  for (const auto& [name, value] : allowed) names.push_back(name);
  const auto given = table.choice(key, names.front(), names);
  for (const auto& [name, value] : allowed)
    if (name == given) return value;
  table.reject(key, "is not known");  // not reached: choice() refuses what is not allowed
}

Anneal anneal_of(const Config& table) {
  return choice(
      table, "anneal_strategy",
      std::array{std::pair{std::string("cos"), Anneal::cos}, std::pair{std::string("linear"), Anneal::linear}});
}

Schedule read_cyclic(const Config& t, const Reader&) {
  using enum CyclicMode;
  CyclicOptions o;
  o.base_lr = t.optional_number("base_lr");
  o.max_lr = needed_number(t, "max_lr");
  o.step_size_up = t.integer("step_size_up", o.step_size_up);
  o.step_size_down = t.optional_integer("step_size_down");
  o.mode = choice(
      t, "mode",
      std::array{std::pair{std::string("triangular"), triangular}, std::pair{std::string("triangular2"), triangular2},
                 std::pair{std::string("exp_range"), exp_range}});
  o.gamma = t.number("gamma", o.gamma);
  o.cycle_momentum = t.boolean("cycle_momentum", o.cycle_momentum);
  o.base_momentum = t.number("base_momentum", o.base_momentum);
  o.max_momentum = t.number("max_momentum", o.max_momentum);
  return cyclic(o);
}

Schedule read_one_cycle(const Config& t, const Reader& reader) {
  OneCycleOptions o;
  o.max_lr = t.optional_number("max_lr");
  o.total_steps = run_length(t, "total_steps", reader);
  o.pct_start = t.number("pct_start", o.pct_start);
  o.anneal_strategy = anneal_of(t);
  o.cycle_momentum = t.boolean("cycle_momentum", o.cycle_momentum);
  o.base_momentum = t.number("base_momentum", o.base_momentum);
  o.max_momentum = t.number("max_momentum", o.max_momentum);
  o.div_factor = t.number("div_factor", o.div_factor);
  o.final_div_factor = t.number("final_div_factor", o.final_div_factor);
  o.three_phase = t.boolean("three_phase", o.three_phase);
  return one_cycle(o);
}

WarmupDecayOptions warmup_decay(const Config& t, const Reader& reader) {
  return {.warmup_steps = t.integer("warmup_steps", 0),
          .total_steps = run_length(t, "total_steps", reader),
          .eta_min = t.number("eta_min", 0.0)};
}

Schedule read_warmup_stable_decay(const Config& t, const Reader&) {
  using enum DecayShape;
  return warmup_stable_decay(
      {.warmup_steps = t.integer("warmup_steps", 0),
       .stable_steps = needed_integer(t, "stable_steps"),
       .decay_steps = needed_integer(t, "decay_steps"),
       .decay = choice(t, "decay",
                       std::array{std::pair{std::string("linear"), linear}, std::pair{std::string("cosine"), cosine},
                                  std::pair{std::string("sqrt"), sqrt}}),
       .eta_min = t.number("eta_min", 0.0)});
}

Schedule read_join(const Config& table, const Reader& reader) {
  const auto parts = reader.parts(table);
  const auto tables = table.tables("parts");
  std::vector<Leg> legs;
  for (std::size_t i = 0; i < parts.size(); ++i)
    legs.push_back(
        {parts[i], i + 1 < parts.size() ? needed_integer(tables[i], "length") : tables[i].integer("length", 0)});
  return join(std::move(legs));
}

Schedule read_noise(const Config& t, const Reader& reader) {
  NoiseOptions o;
  o.amount = t.number("amount", o.amount);
  o.limit = t.number("limit", o.limit);
  o.kind = choice(t, "distribution",
                  std::array{std::pair{std::string("normal"), NoiseKind::normal},
                             std::pair{std::string("uniform"), NoiseKind::uniform}});
  const auto seed = t.integer("seed", 0);
  if (seed < 0) t.reject("seed", fmt::format("must be >= 0, got {}", seed));
  o.seed = static_cast<std::uint64_t>(seed);
  o.begin = t.integer("begin", o.begin);
  if (const auto end = t.optional_integer("end")) o.end = *end;
  return noise(reader.schedule(t.table("of")), o);
}

using Read = Schedule (*)(const Config&, const Reader&);

// Every kind, in the order of docs/schedules.md.
const std::map<std::string, Read>& readers() {
  static const std::map<std::string, Read> table{
      {"fixed", [](const Config&, const Reader&) { return fixed(); }},
      {"step",
       [](const Config& t, const Reader&) {
         return step({.step_size = needed_integer(t, "step_size"), .gamma = t.number("gamma", 0.1)});
       }},
      {"multi_step",
       [](const Config& t, const Reader&) {
         return multi_step({.milestones = t.integers("milestones", {}), .gamma = t.number("gamma", 0.1)});
       }},
      {"constant",
       [](const Config& t, const Reader&) {
         return constant({.factor = t.number("factor", 1.0 / 3.0), .total_iters = t.integer("total_iters", 5)});
       }},
      {"linear",
       [](const Config& t, const Reader&) {
         return linear({.start_factor = t.number("start_factor", 1.0 / 3.0),
                        .end_factor = t.number("end_factor", 1.0),
                        .total_iters = t.integer("total_iters", 5)});
       }},
      {"exponential", [](const Config& t, const Reader&) { return exponential({.gamma = needed_number(t, "gamma")}); }},
      {"polynomial",
       [](const Config& t, const Reader&) {
         return polynomial({.total_iters = t.integer("total_iters", 5), .power = t.number("power", 1.0)});
       }},
      {"cosine_annealing",
       [](const Config& t, const Reader& reader) {
         return cosine_annealing({.t_max = run_length(t, "t_max", reader), .eta_min = t.number("eta_min", 0.0)});
       }},
      {"cosine_annealing_warm_restarts",
       [](const Config& t, const Reader&) {
         return cosine_annealing_warm_restarts(
             {.t_0 = needed_integer(t, "t_0"), .t_mult = t.integer("t_mult", 1), .eta_min = t.number("eta_min", 0.0)});
       }},
      {"swa",
       [](const Config& t, const Reader&) {
         return swa({.swa_lr = needed_number(t, "swa_lr"),
                     .anneal_epochs = t.integer("anneal_epochs", 10),
                     .anneal_strategy = anneal_of(t)});
       }},
      {"cyclic", read_cyclic},
      {"one_cycle", read_one_cycle},
      {"linear_warmup",
       [](const Config& t, const Reader&) {
         return linear_warmup({.steps = needed_integer(t, "steps"), .start_factor = t.optional_number("start_factor")});
       }},
      {"warmup_cosine", [](const Config& t, const Reader& reader) { return warmup_cosine(warmup_decay(t, reader)); }},
      {"warmup_linear", [](const Config& t, const Reader& reader) { return warmup_linear(warmup_decay(t, reader)); }},
      {"warmup_polynomial",
       [](const Config& t, const Reader& reader) {
         const auto [warmup_steps, total_steps, eta_min] = warmup_decay(t, reader);
         return warmup_polynomial({.warmup_steps = warmup_steps,
                                   .total_steps = total_steps,
                                   .power = t.number("power", 1.0),
                                   .eta_min = eta_min});
       }},
      {"inverse_sqrt",
       [](const Config& t, const Reader&) {
         return inverse_sqrt(
             {.warmup_steps = t.integer("warmup_steps", 0), .timescale = t.optional_integer("timescale")});
       }},
      {"warmup_stable_decay", read_warmup_stable_decay},
      {"cosine_hard_restarts",
       [](const Config& t, const Reader& reader) {
         return cosine_hard_restarts({.warmup_steps = t.integer("warmup_steps", 0),
                                      .total_steps = run_length(t, "total_steps", reader),
                                      .cycles = t.integer("cycles", 1),
                                      .eta_min = t.number("eta_min", 0.0)});
       }},
      {"tanh_decay",
       [](const Config& t, const Reader& reader) {
         return tanh_decay({.total_steps = run_length(t, "total_steps", reader),
                            .lower = t.number("lower", -6.0),
                            .upper = t.number("upper", 3.0),
                            .eta_min = t.number("eta_min", 0.0)});
       }},
      {"sequential",
       [](const Config& t, const Reader& reader) { return sequential(reader.parts(t), t.integers("milestones", {})); }},
      {"join", read_join},
      {"chained", [](const Config& t, const Reader& reader) { return chained(reader.parts(t)); }},
      {"noise", read_noise},
  };
  return table;
}

ReduceOnPlateauOptions plateau_of(const Config& t) {
  ReduceOnPlateauOptions o;
  o.mode =
      choice(t, "mode", std::array{std::pair{std::string("min"), Mode::min}, std::pair{std::string("max"), Mode::max}});
  o.factor = t.number("factor", o.factor);
  o.patience = t.integer("patience", o.patience);
  o.verbose = t.boolean("verbose", o.verbose);
  o.threshold = t.number("threshold", o.threshold);
  o.threshold_mode = choice(
      t, "threshold_mode",
      std::array{std::pair{std::string("rel"), ThresholdMode::rel}, std::pair{std::string("abs"), ThresholdMode::abs}});
  o.cooldown = t.integer("cooldown", o.cooldown);
  o.min_lr = t.number("min_lr", o.min_lr);
  o.min_lrs = t.numbers("min_lrs", {});
  o.eps = t.number("eps", o.eps);
  return o;
}

// A mistake that a schedule itself found, with the place in the file before it.
template <class Build>
auto located(const Config& table, Build build) -> decltype(build()) {
  try {
    return build();
  } catch (const std::invalid_argument& error) {
    if (std::string_view(error.what()).starts_with("schedule::"))
      table.reject("kind", fmt::format("- {}", error.what()));
    throw;
  }
}

Schedule Reader::schedule(const Config& table) const {
  if (depth > kDeepest) table.reject("kind", fmt::format("lies more than {} schedules deep", kDeepest));
  if (table.text("kind", "fixed") == "reduce_on_plateau")
    table.reject("kind", "= 'reduce_on_plateau' follows a metric, not the step, and cannot be a part of a schedule");
  const auto kind = table.choice("kind", "fixed", kinds());
  const Reader inner{run_steps, depth + 1};
  return located(table, [&] { return readers().at(kind)(table, inner); });
}

std::vector<Schedule> Reader::parts(const Config& table) const {
  std::vector<Schedule> schedules;
  for (const auto& part : table.tables("parts")) {
    if (!part.has("kind")) part.reject("kind", "is needed in every part");
    schedules.push_back(schedule(part));
  }
  return schedules;
}

}  // namespace

Spec spec_from_config(const Config& table, std::optional<std::int64_t> run_steps) {
  Spec spec{.rule = fixed(), .interval = Interval::step, .monitor = ""};
  const bool plateau = table.text("kind", "fixed") == "reduce_on_plateau";
  if (plateau) {
    auto options = plateau_of(table);
    located(table, [&] { return ReduceOnPlateau(options); });
    spec.rule = std::move(options);
    spec.monitor = table.text("monitor", "val_loss");
    spec.interval = Interval::epoch;
    if (table.has("interval") && table.text("interval", "epoch") != "epoch")
      table.reject("interval", "must be 'epoch' for reduce_on_plateau: it steps with each validation");
    return spec;
  }
  spec.interval = choice(
      table, "interval",
      std::array{std::pair{std::string("step"), Interval::step}, std::pair{std::string("epoch"), Interval::epoch}});
  spec.rule = Reader{run_steps}.schedule(table);
  return spec;
}

Schedule from_config(const Config& table, std::optional<std::int64_t> run_steps) {
  return Reader{run_steps}.schedule(table);
}

const std::vector<std::string>& kinds() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all{"reduce_on_plateau"};
    for (const auto& [name, read] : readers()) all.push_back(name);
    return all;
  }();
  return names;
}

}  // namespace athanor::schedule
