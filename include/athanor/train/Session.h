#pragma once
#include <c10/core/Device.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "athanor/amp/GradScaler.h"
#include "athanor/core/Config.h"
#include "athanor/data/Open.h"
#include "athanor/models/Registry.h"
#include "athanor/optim/Scheduler.h"
#include "athanor/train/Step.h"

namespace athanor::train {

/// Shape and dtype of what the data gives: what the model and the loss are checked against.
struct SampleForm {
  data::Field input;
  data::Field target;
  std::int64_t classes = 0;  ///< 0: the targets are real numbers.
};
SampleForm form_of(const data::Splits& splits);
/// What a model expects, where no data is at hand (a forecast on a machine without it). Needs the model to say its
/// sample shape and classes; integer inputs for a model of tokens. nullopt if the model does not say.
std::optional<SampleForm> form_of(const models::Model& model);

struct SessionOptions {
  c10::Device device = c10::Device(c10::kCPU);
  std::optional<SampleForm> form = {};                    ///< Of the data; without it, of the model.
  std::optional<std::int64_t> run_steps = {};             ///< Stands for a schedule's length that is not written.
  std::function<void(const std::string&)> observer = {};  ///< Told the schedule's remarks; may be empty.
};

/// Everything a configuration says of one training step, made and bound together: what `train` loops over, `find-lr`
/// tries rates on, `rehearse` and `plan` run on the phantom GPU. Reads the tables model, optimizer, schedule,
/// precision, memory and the step's keys of train; run.seed seeds LibTorch's generators before the model is made, on
/// the host, so that the first weights do not depend on the device. Throws std::invalid_argument with file, line, key.
class Session {
 public:
  Session(const core::Config& config, const models::Registry& registry, SessionOptions options = {});

  /// One micro-batch; the last one of an accumulation makes the optimizer step and moves the schedule. Returns the
  /// micro-batch's mean loss, on the device: no value is read off it, but fp16 with a schedule asks whether it stepped.
  at::Tensor step(const data::Batch& batch);

  /// Forward and loss of one batch in the model's eval mode, without gradients. Returns the mean loss, on the device.
  /// See Step::evaluate for `want_output`.
  at::Tensor evaluate(const data::Batch& batch, bool want_output = true);

  /// A batch of zeros of the data's form on the host: for rehearsals, where no value matters.
  [[nodiscard]] data::Batch blank_batch(std::int64_t items) const;

  models::Model model;
  Loss loss;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  std::unique_ptr<amp::GradScaler> scaler;  ///< Null unless precision.compute is fp16.
  std::unique_ptr<optim::Scheduler> scheduler;
  schedule::Interval interval = schedule::Interval::step;  ///< When the schedule takes its next step.
  std::string plateau_monitor;                             ///< The metric a reduction on a plateau watches.
  StepOptions step_options;
  SampleForm form;

 private:
  Step& step_of_its_own();

  std::unique_ptr<Step> step_;  // made by the first step: with in_backward it hooks the parameters
};

}  // namespace athanor::train
