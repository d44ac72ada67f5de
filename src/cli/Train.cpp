#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/version.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <ctime>
#include <ostream>

#include "athanor/core/Error.h"
#include "athanor/core/Format.h"
#include "athanor/core/Terminal.h"
#include "athanor/cuda/Cuda.h"
#include "athanor/gpu/MemoryWatch.h"
#include "athanor/gpu/Nvml.h"
#include "athanor/train/CsvLog.h"
#include "athanor/train/HostMemory.h"
#include "athanor/train/Progress.h"
#include "athanor/train/RunFolder.h"
#include "athanor/train/TensorBoardLog.h"
#include "cli/Budget.h"
#include "cli/MemoryLog.h"
#include "cli/ReportFile.h"
#include "cli/TrainRun.h"
#include "cli/commands.h"

namespace athanor::cli {
namespace {

using nlohmann::json;
using train::Outcome;
using train::Status;

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

json json_of(const train::Metrics& metrics) {
  json object = json::object();
  for (const auto& [name, value] : metrics) object[name] = value;
  return object;
}

json json_of(const Outcome& outcome) {
  json best;
  if (outcome.best)
    best = {{"metric", outcome.best->metric}, {"value", outcome.best->value}, {"epoch", outcome.best->epoch}};
  return {{"status", train::to_string(outcome.status)},
          {"reason", outcome.reason},
          {"steps", outcome.steps},
          {"epochs", outcome.epochs},
          {"best", best},
          {"final", json_of(outcome.final)},
          {"seconds", outcome.seconds}};
}

json facts_of(const TrainRun& run, const TrainFlags& flags) {
  return {{"name", run.name},
          {"config", flags.config},
          {"seed", run.seed},
          {"device", run.device.str()},
          {"threads", at::get_num_threads()},
          {"started", utc_now()},
          {"versions", {{"athanor", ATHANOR_VERSION}, {"libtorch", TORCH_VERSION}, {"compiler", __VERSION__}}},
          {"data", run.splits.description}};
}

std::string opening_line(const TrainRun& run) {
  std::int64_t weights = 0;
  for (const auto& parameter : run.session->model.module->parameters()) weights += parameter.numel();
  return fmt::format("{}: {} weights on {}; {}", run.name, core::grouped(weights), run.device.str(),
                     run.splits.description);
}

// What the memory log reads: the device's allocator and driver, or this process's own memory on a CPU.
gpu::MemoryWatch memory_watch(c10::Device device) {
  if (!device.is_cuda()) return gpu::MemoryWatch();
  auto driver = std::make_shared<gpu::Nvml>();
  return gpu::MemoryWatch(
      [device] {
        const auto memory = cuda::memory(device);
        return gpu::MemoryWatch::Allocator{memory.allocated, memory.reserved};
      },
      [driver] { return driver->own_memory(); });
}

// A real run is rehearsed beside it; begun before the run is made, which may touch CUDA.
std::unique_ptr<RunForecast> begin_rehearsal(const TrainFlags& flags, const Context& context) {
  if (!flags.forecast.empty() || flags.dry_run || flags.print_config) return nullptr;
  return std::make_unique<RunForecast>(flags.config, flags.set, context.models);
}

Bytes given_forecast(const TrainFlags& flags) {
  return flags.forecast.empty() || flags.forecast == "off" ? Bytes{} : Bytes::parse(flags.forecast);
}

// One training, from the flags to the outcome.
class Training {
 public:
  Training(const TrainFlags& flags, Context& context)
      : flags_(flags),
        context_(context),
        rehearsal_(begin_rehearsal(flags, context)),
        run_(flags, context),
        memory_(memory_watch(run_.device), given_forecast(flags),
                run_.device.is_cuda() ? std::move(rehearsal_) : nullptr,
                [this](const std::string& text) { say(text); }) {
    rehearsal_.reset();
  }

  void go() {
    if (flags_.print_config) {
      *context_.out << run_.config.resolved();
      return;
    }
    limit();
    if (flags_.dry_run) return dry_run();
    folder_.emplace(flags_.resume ? train::RunFolder::reopen(place(), run_.config.resolved())
                                  : train::RunFolder::begin(place(), run_.config.resolved()));
    facts_ = facts_of(run_, flags_);
    report(fit());
  }

 private:
  [[nodiscard]] std::filesystem::path place() const {
    return flags_.out.empty() ? std::filesystem::path("runs") / run_.name : std::filesystem::path(flags_.out);
  }

  // --max-steps ends a run earlier than its configuration; the schedule is still the configuration's.
  void limit() {
    if (flags_.max_steps < 0)
      throw std::invalid_argument(fmt::format("--max-steps must be > 0, got {}", flags_.max_steps));
    auto& steps = run_.options.max_steps;
    if (flags_.max_steps > 0) steps = steps > 0 ? std::min(steps, flags_.max_steps) : flags_.max_steps;
  }

  void say(const std::string& text) {
    if (!context_.quiet) *context_.err << text << '\n';
  }
  void warn(const std::string& text) { *context_.err << context_.name << ": warning: " << text << '\n'; }

  void dry_run() {
    auto options = run_.options;
    options.max_steps = 2;
    options.max_epochs = 0;
    options.early_stopping.reset();
    options.interrupt = &interrupt_;
    train::Trainer trainer(run_.session->model, run_.session->loss, *run_.session->optimizer, options);
    const auto outcome = trainer.fit(*run_.train, run_.validation.get());
    say(fmt::format("dry run: {} steps, loss {}; nothing was written", outcome.steps,
                    core::significant(outcome.final.at("train_loss"), 4)));
    print(outcome, "");
  }

  Outcome fit() {
    auto options = run_.options;
    options.folder = folder_->path();
    options.interrupt = &interrupt_;
    train::Trainer trainer(run_.session->model, run_.session->loss, *run_.session->optimizer, add_observers(options));
    if (flags_.resume && !trainer.resume([this](const std::string& text) { warn(text); }))
      throw std::invalid_argument(
          fmt::format("--resume: nothing to resume in {}: it holds no whole checkpoint", folder_->path().string()));
    open_logs(trainer.step_count());
    if (flags_.resume) say(fmt::format("resuming after step {}", trainer.step_count()));
    write_status("running", json::object());
    try {
      auto outcome = trainer.fit(*run_.train, run_.validation.get());
      for (const auto& remark : run_.remarks) say(remark);
      if (run_.test && outcome.status != Status::interrupted && outcome.status != Status::diverged)
        for (const auto& [name, value] : trainer.evaluate(*run_.test, "test")) outcome.final[name] = value;
      tell_test(outcome);
      return outcome;
    } catch (const std::exception& error) {
      try {
        write_status("failed", {{"reason", error.what()}});
      } catch (const Error&) {  // a full disk takes no status either; the first failure is the one to report
      }
      throw;
    }
  }

  // The logs are opened once the step is known that a resume goes on from: the observers look them up.
  train::TrainerOptions& add_observers(train::TrainerOptions& options) {
    options.observers.push_back([this](const train::Event& event) {
      if (event.kind == train::Event::Kind::step) return log_with_memory(event);
      log(event);
      if (event.kind == train::Event::Kind::validated && page_) page_->refresh();
    });
    return options;
  }

  void log(const train::Event& event) {
    if (csv_) (*csv_)(event);
    if (tensorboard_) (*tensorboard_)(event);
    if (progress_) (*progress_)(event);
  }

  void log_with_memory(train::Event event) {
    if (memory_.add_to(event)) write_status("running", json::object());
    log(event);
  }

  void open_logs(std::int64_t step) {
    const std::int64_t from = flags_.resume ? step : -1;
    if (run_.page && run_.csv) page_.emplace(folder_->path());
    if (run_.csv) csv_.emplace(folder_->path() / "metrics.csv", from);
    if (run_.tensorboard) tensorboard_.emplace(folder_->path(), from);
    if (context_.quiet) return;
    const auto terminal = core::Terminal::of(*context_.err);
    progress_.emplace(*context_.err, train::ProgressOptions{.live = terminal.interactive, .columns = terminal.columns});
    say(opening_line(run_));
  }

  void tell_test(const Outcome& outcome) {
    train::Event event{.kind = train::Event::Kind::validated, .step = outcome.steps, .epoch = outcome.epochs};
    if (event.epoch > 0) --event.epoch;
    for (const auto& [name, value] : outcome.final)
      if (name.starts_with("test_")) event.metrics[name] = value;
    if (!event.metrics.empty()) log(event);
  }

  void write_status(const std::string& status, json more) {
    json whole = facts_;
    whole["status"] = status;
    whole["reason"] = "";
    whole.update(more);
    whole["memory"] = memory_.facts();
    whole["updated"] = utc_now();
    folder_->write_status(whole);
  }

  void report(const Outcome& outcome) {
    memory_.finish();
    write_status(train::to_string(outcome.status), json_of(outcome));
    if (page_) page_->finish();
    if (const auto verdict = memory_.verdict(); !verdict.empty()) say(verdict);
    print(outcome, folder_->path().string());
    if (outcome.status == Status::interrupted) context_.exit_code = interrupt_.exit_code();
    if (outcome.status == Status::diverged) {
      context_.exit_code = 1;
      *context_.err << context_.name << ": diverged: " << outcome.reason << '\n';
    }
  }

  void print(const Outcome& outcome, const std::string& folder) {
    if (context_.json) {
      auto document = json_of(outcome);
      document["run_dir"] = folder;
      *context_.out << document.dump(2) << '\n';
      return;
    }
    if (context_.quiet || folder.empty()) return;
    std::string line = fmt::format("{} after {} steps in {}", train::to_string(outcome.status), outcome.steps,
                                   core::duration(outcome.seconds));
    if (!outcome.reason.empty() && outcome.status != Status::diverged) line += ": " + outcome.reason;
    if (outcome.best)
      line += fmt::format("\nbest {} {} in epoch {}", outcome.best->metric, core::significant(outcome.best->value, 4),
                          outcome.best->epoch + 1);
    *context_.out << line << "\n" << folder << std::endl;
  }

  const TrainFlags& flags_;
  Context& context_;
  std::unique_ptr<RunForecast> rehearsal_;  // until memory_ has it
  TrainRun run_;
  MemoryLog memory_;
  train::Interrupt interrupt_;
  std::optional<train::RunFolder> folder_;
  json facts_;
  std::optional<ReportFile> page_;
  std::optional<train::CsvLog> csv_;
  std::optional<train::TensorBoardLog> tensorboard_;
  std::optional<train::Progress> progress_;
};

}  // namespace

void add_train(CLI::App& root, Context& context) {
  auto* command = root.add_subcommand("train", "Trains what a configuration describes");
  auto flags = std::make_shared<TrainFlags>();
  command->add_option("config", flags->config, "The configuration, a TOML file")->required();
  command->add_option("--set", flags->set, "key=value: overrides a key of the configuration; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--out", flags->out, "The run directory (default: runs/NAME)");
  command->add_flag("--resume", flags->resume, "Goes on from the newest good checkpoint of the run directory");
  command->add_option("--max-steps", flags->max_steps, "Stops after this many optimizer steps of the whole run");
  command->add_option("--forecast", flags->forecast,
                      "What the memory will be (6.1GiB), or off; a GPU's is rehearsed by itself");
  command->add_flag("--dry-run", flags->dry_run, "Two steps and a validation pass; writes nothing");
  command->add_flag("--print-config", flags->print_config, "Prints the whole configuration, defaults and sources");
  command->callback([flags, &context] {
    train::keep_freed_memory();
    if (!fit_to_budget(flags->config, flags->set, context)) return;
    Training(*flags, context).go();
  });
}

}  // namespace athanor::cli
