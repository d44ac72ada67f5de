#include "athanor/train/Session.h"

#include <fmt/format.h>
#include <torch/nn/modules/embedding.h>
#include <torch/utils.h>

#include <array>

#include "athanor/nn/Blocks.h"
#include "athanor/optim/Factory.h"
#include "athanor/optim/LBFGS.h"

namespace athanor::train {
namespace {

at::ScalarType compute_from(const core::Config& precision) {
  static const std::array<std::string, 3> names{"fp32", "bf16", "fp16"};
  const auto name = precision.choice("compute", "fp32", names);
  return name == "bf16" ? at::kBFloat16 : name == "fp16" ? at::kHalf : at::kFloat;
}

at::ScalarType parameters_from(const core::Config& precision) {
  static const std::array<std::string, 2> names{"fp32", "bf16"};
  const bool bf16 = precision.choice("parameters", "fp32", names) == "bf16";
  if (bf16 && compute_from(precision) == at::kHalf)
    precision.reject("parameters",
                     "= \"bf16\" does not go with precision.compute = \"fp16\": what fp16's scaler lifts, "
                     "bf16 does not need");
  return bf16 ? at::kBFloat16 : at::kFloat;
}

amp::GradScalerOptions scaler_from(const core::Config& precision) {
  return {.init_scale = precision.number("init_scale", 65536),
          .growth_factor = precision.number("growth_factor", 2),
          .backoff_factor = precision.number("backoff_factor", 0.5),
          .growth_interval = precision.integer("growth_interval", 2000)};
}

double not_negative(const core::Config& table, const std::string& key) {
  const double value = table.number(key, 0.0);
  if (!(value >= 0)) table.reject(key, fmt::format("must be >= 0 (0: off), got {}", value));
  return value;
}

double smoothing_from(const core::Config& train) {
  const double smoothing = train.number("label_smoothing", 0.0);
  if (!(smoothing >= 0 && smoothing <= 1))
    train.reject("label_smoothing", fmt::format("must be in [0, 1], got {}", smoothing));
  return smoothing;
}

Loss loss_from(const core::Config& train, std::int64_t classes) {
  static const std::array<std::string, 3> names{"auto", "cross_entropy", "mse"};
  const auto name = train.choice("loss", "auto", names);
  const double smoothing = smoothing_from(train);
  if (name == "mse" && smoothing > 0) train.reject("label_smoothing", "belongs to cross_entropy, not to mse");
  if (name == "cross_entropy" && classes == 0)
    train.reject("loss", "is cross_entropy, but the data's targets are real numbers, not classes: use mse");
  return name == "mse" || (name == "auto" && classes == 0) ? mean_squared_error() : cross_entropy(smoothing);
}

StepOptions step_from(const core::Config& config, c10::Device device) {
  const auto train = config.table("train");
  static const std::array<std::string, 2> formats{"contiguous", "channels_last"};
  StepOptions options{.device = device,
                      .compute = compute_from(config.table("precision")),
                      .parameters = parameters_from(config.table("precision")),
                      .channels_last = train.choice("memory_format", "contiguous", formats) == "channels_last",
                      .accumulate = train.integer("accumulate", 1),
                      .clip_norm = not_negative(train, "clip_norm"),
                      .clip_value = not_negative(train, "clip_value")};
  if (options.accumulate < 1) train.reject("accumulate", fmt::format("must be >= 1, got {}", options.accumulate));
  return options;
}

// [memory]: what the model's blocks, its head and its activations do.
void lean_from(const core::Config& config, models::Model& model, StepOptions& step) {
  const auto memory = config.table("memory");
  const auto policy = memory.text("checkpointing", "off");
  try {
    nn::set_checkpointing(*model.module, nn::Checkpointing::parse(policy));
  } catch (const std::invalid_argument& error) {
    constexpr std::string_view room = "nn: checkpointing ";
    std::string_view why = error.what();
    if (why.starts_with(room)) why.remove_prefix(room.size());
    memory.reject("checkpointing", std::string(why));
  }
  if (memory.boolean("chunked_loss", false)) {
    if (!nn::find_linear_head(*model.module))
      memory.reject("chunked_loss", "needs a model with a linear head: derive yours from nn::HasLinearHead");
    step.chunked_loss = nn::LinearCrossEntropyOptions{.label_smoothing = smoothing_from(config.table("train"))};
  }
  step.in_backward = memory.boolean("optimizer_in_backward", false);
  if (step.in_backward &&
      (step.clip_norm > 0 || step.clip_value > 0 || step.accumulate > 1 || step.compute == at::kHalf))
    memory.reject("optimizer_in_backward",
                  "cannot be with train.clip_norm, train.clip_value, train.accumulate > 1 or "
                  "fp16's gradient scaler: they need all gradients at once");
  static const std::array<std::string, 2> offloads{"off", "activations"};
  step.offload = memory.choice("offload", "off", offloads) == "activations";
}

// Module::to with a dtype would also turn counters into floating numbers. In one go, so that a model without memory of
// its own (a rehearsal's) gets none on the host.
void convert(std::vector<at::Tensor> tensors, const StepOptions& step) {
  for (auto& tensor : tensors)
    if (tensor.is_floating_point()) tensor.set_data(tensor.to(step.device, step.parameters));
}

void bring(torch::nn::Module& module, const StepOptions& step) {
  if (step.parameters != at::kFloat) {
    convert(module.parameters(), step);
    convert(module.buffers(), step);
  }
  module.to(step.device);
  if (!step.channels_last) return;
  for (auto& parameter : module.parameters())
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
}

void check_rate(const core::Config& optimizer) {
  const auto lr = optimizer.optional_number("lr");
  if (lr && !(*lr > 0)) optimizer.reject("lr", fmt::format("must be > 0, got {}", *lr));
}

}  // namespace

SampleForm form_of(const data::Splits& splits) {
  return {splits.train->input(), splits.train->target(), splits.classes};
}

std::optional<SampleForm> form_of(const models::Model& model) {
  if (model.sample_shape.empty()) return std::nullopt;
  // One dimension and classes is a row of features or of tokens; only a model that embeds takes tokens.
  bool tokens = false;
  for (const auto& module : model.module->modules())
    tokens = tokens || dynamic_cast<torch::nn::EmbeddingImpl*>(module.get()) != nullptr;
  tokens = tokens && model.sample_shape.size() == 1;
  SampleForm form{
      .input = {model.sample_shape, tokens ? at::kLong : at::kFloat}, .target = {}, .classes = model.classes};
  form.target = {tokens ? model.sample_shape : std::vector<std::int64_t>{}, model.classes > 0 ? at::kLong : at::kFloat};
  return form;
}

Session::Session(const core::Config& config, const models::Registry& registry, SessionOptions options) {
  torch::manual_seed(static_cast<std::uint64_t>(config.table("run").integer("seed", 17)));
  const auto model_table = config.table("model");
  model = registry.make(model_table);
  if (options.form) models::check_fits(model, options.form->input.shape, options.form->classes);
  const auto known = options.form ? options.form : form_of(model);
  if (!known) model_table.reject("kind", "does not say the shape of its samples, and there is no data to take it from");
  form = *known;
  const auto train = config.table("train");
  loss = loss_from(train, form.classes);
  step_options = step_from(config, options.device);
  lean_from(config, model, step_options);
  bring(*model.module, step_options);
  check_rate(config.table("optimizer"));
  optimizer = optim::make_optimizer(config.table("optimizer"), *model.module);
  if (dynamic_cast<optim::LBFGS*>(optimizer.get()))
    config.table("optimizer")
        .reject("kind",
                "= \"lbfgs\" evaluates the loss several times a step: use it in a loop of your "
                "own, with a closure");
  if (step_options.compute == at::kHalf) {
    scaler = std::make_unique<amp::GradScaler>(scaler_from(config.table("precision")));
    step_options.scaler = scaler.get();
  }
  const auto spec = schedule::spec_from_config(config.table("schedule"), options.run_steps);
  interval = spec.interval;
  plateau_monitor = spec.monitor;
  scheduler = std::make_unique<optim::Scheduler>(*optimizer, spec,
                                                 optim::SchedulerOptions{.observer = std::move(options.observer)});
}

Step& Session::step_of_its_own() {
  if (!step_) step_ = std::make_unique<Step>(model, loss, *optimizer, step_options);
  return *step_;
}

at::Tensor Session::step(const data::Batch& batch) {
  Step& step = step_of_its_own();
  auto value = step.backward(batch);
  if (!step.ready()) return value;
  const auto stepped = step.update();
  if (interval == schedule::Interval::step && !scheduler->is_plateau())
    scheduler->step_if(!scaler || static_cast<bool>(stepped));
  return value;
}

at::Tensor Session::evaluate(const data::Batch& batch, bool want_output) {
  model.module->eval();
  auto value = step_of_its_own().evaluate(batch, want_output).loss;
  model.module->train();
  return value;
}

data::Batch Session::blank_batch(std::int64_t items) const {
  const auto shape = [&](const data::Field& field) {
    std::vector<std::int64_t> sizes{items};
    sizes.insert(sizes.end(), field.shape.begin(), field.shape.end());
    return sizes;
  };
  return {at::zeros(shape(form.input), form.input.dtype), at::zeros(shape(form.target), form.target.dtype), items};
}

}  // namespace athanor::train
