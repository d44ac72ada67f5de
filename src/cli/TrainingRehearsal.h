#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "athanor/core/Config.h"
#include "athanor/models/Registry.h"
#include "athanor/plan/Roofline.h"
#include "athanor/rehearse/Rehearse.h"
#include "athanor/train/Session.h"

namespace athanor::cli {

struct TrainingRehearsalOptions {
  rehearse::Options rehearsal = {};
  train::SampleForm form = {};  ///< See form_of_training.
  /// Micro-batches to a step, if the configuration was given fewer to rehearse; 0: as the configuration says.
  std::int64_t accumulate = 0;
  /// Samples in the training set; what is left of it after full batches is rehearsed too, as a step of its own. 0: not
  /// known, and not rehearsed.
  std::int64_t samples = 0;
  /// Lengths of sequences that the data also has, a step each, in this order; only where samples are rows of tokens.
  std::vector<std::int64_t> lengths = {};
  bool validate = true;        ///< Rehearses a validation pass after the first step, as training runs one.
  bool estimate_time = false;  ///< Also counts the operators' work, which takes half as long again.
  /// Looks at the session before its first step.
  std::function<void(const train::Session&)> inspect = {};
};

struct TrainingRehearsal {
  rehearse::Forecast forecast;
  plan::Estimate step;  ///< Of one optimizer step with all its micro-batches; zero unless asked for.
};

/// Rehearses the training step that a configuration describes: model, optimizer, precision, memory settings,
/// micro-batches of data.batch_size.
TrainingRehearsal rehearse_training(const core::Config& config, const models::Registry& registry,
                                    const TrainingRehearsalOptions& options = {});

enum class FormSource : std::uint8_t { option, model, data };
/// "--sample", "the model" or "the data".
std::string_view name(FormSource source);

/// What a sample is, and who says so.
struct KnownForm {
  train::SampleForm form;
  FormSource source = FormSource::model;

  /// "samples 3×224×224 as the model takes them, 10 classes; the data were not read".
  [[nodiscard]] std::string text() const;
};

/// What a sample of the training is: `sample` ("3x224x224") where it is given, else what the model takes, else what the
/// data hold; in this order, so that the data need not be here. Throws std::invalid_argument or athanor::Error where
/// none of the three says it.
KnownForm form_of_training(const core::Config& config, const models::Registry& models, const std::string& sample = "");

/// How many samples the configuration's training set has; 0 if the data are not here to be counted.
std::int64_t samples_of_training(const core::Config& config);

/// data.batch_size, with its default.
std::int64_t batch_size_of(const core::Config& config);

}  // namespace athanor::cli
