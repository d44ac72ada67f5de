#include "cli/TrainRun.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "athanor/cuda/Cuda.h"

namespace athanor::cli {
namespace {

std::string name_of(const core::Config& config, const std::string& path) {
  const auto name = config.table("run").text("name", std::filesystem::path(path).stem().string());
  if (name.empty() || name.find('/') != std::string::npos || name.starts_with('.'))
    config.table("run").reject("name", fmt::format("must be the name of a folder, got '{}'", name));
  return name;
}

std::uint64_t seed_of(const core::Config& config) {
  const auto seed = config.table("run").integer("seed", 17);
  if (seed < 0) config.table("run").reject("seed", fmt::format("must be >= 0, got {}", seed));
  return static_cast<std::uint64_t>(seed);
}

// Processor-wide settings of LibTorch.
void set_up_host(const core::Config& config) {
  const auto threads = config.table("run").integer("threads", 0);
  if (threads < 0 || threads > 4096)
    config.table("run").reject("threads", fmt::format("must be in 0 (as many as cores) … 4096, got {}", threads));
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  const bool deterministic = config.table("train").boolean("deterministic", true);
  auto& libtorch = at::globalContext();
  libtorch.setDeterministicAlgorithms(deterministic, /*warn_only=*/true);
  libtorch.setDeterministicFillUninitializedMemory(false);  // costs a pass over every new tensor, and changes no result
}

// A held-out split is read in order, whole.
std::unique_ptr<data::Loader> held_out(const std::shared_ptr<const data::Dataset>& dataset,
                                       data::LoaderOptions options) {
  if (!dataset || dataset->size() == 0) return nullptr;
  options.shuffle = false;
  options.drop_last = false;
  options.batch_size = std::min(options.batch_size, dataset->size());
  return std::make_unique<data::Loader>(dataset, options);
}

}  // namespace

TrainRun::TrainRun(const TrainFlags& flags, Context& context)
    : config(core::Config::from_file(flags.config, flags.set)),
      name(name_of(config, flags.config)),
      seed(seed_of(config)),
      device(cuda::resolve(config.table("run").text("device", "auto"))) {
  set_up_host(config);
  const auto data_table = config.table("data");
  splits = data::open(data_table, seed);
  auto loading = data::loader_options(data_table, seed, *splits.train);
  loading.pinned = device.is_cuda();
  train = std::make_unique<data::Loader>(splits.train, loading);
  const auto eval_batch = data_table.integer("eval_batch_size", loading.batch_size);
  if (eval_batch < 1) data_table.reject("eval_batch_size", fmt::format("must be >= 1, got {}", eval_batch));
  loading.batch_size = eval_batch;
  validation = held_out(splits.val, loading);
  test = held_out(splits.test, loading);
  session = std::make_unique<athanor::train::Session>(
      config, context.models,
      athanor::train::SessionOptions{.device = device,
                                     .form = athanor::train::form_of(splits),
                                     .run_steps = athanor::train::run_length(config, train->batches()),
                                     .observer = [this](const std::string& text) { remarks.push_back(text); }});
  options = athanor::train::trainer_options(config, *session);
  if (options.early_stopping && !validation)
    config.reject("early_stopping", "needs validation data: set data.validation_fraction above 0");
  if (session->scheduler->is_plateau() && !validation)
    config.reject("schedule", "reduces on a plateau of a validation metric, but there is no validation data");
  csv = config.table("log").boolean("csv", true);
  tensorboard = config.table("log").boolean("tensorboard", true);
  page = config.table("log").boolean("report", true);
  // Read before the run was made: see Budget.h.
  (void)config.table("memory").text("budget", "auto");
  (void)config.table("memory").text("gpu", "");
  config.reject_unknown();
}

}  // namespace athanor::cli
