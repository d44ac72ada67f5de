#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "athanor/core/Config.h"
#include "athanor/data/Open.h"
#include "athanor/train/FromConfig.h"
#include "cli/Context.h"

namespace athanor::cli {

/// The flags of `train`.
struct TrainFlags {
  std::string config;
  std::vector<std::string> set;
  std::string out;
  bool resume = false;
  bool dry_run = false;
  bool print_config = false;
  std::int64_t max_steps = 0;
  std::string forecast;  ///< What the memory will be, as a size, or "off"; "": it is rehearsed where there is a card.
};

/// A configuration made into what a run needs; every key is asked for here, so that what is left is a mistake.
struct TrainRun {
  TrainRun(const TrainFlags& flags, Context& context);

  core::Config config;
  std::string name;
  std::uint64_t seed;
  c10::Device device;
  bool csv, tensorboard, page;
  data::Splits splits;
  std::unique_ptr<data::Loader> train, validation, test;
  std::unique_ptr<train::Session> session;
  athanor::train::TrainerOptions options;
  std::vector<std::string> remarks;
};

}  // namespace athanor::cli
