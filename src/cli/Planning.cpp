#include "cli/Planning.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "athanor/nn/Blocks.h"
#include "athanor/nn/LinearCrossEntropy.h"

namespace athanor::cli {
namespace {

struct Traits {
  std::int64_t blocks = 0;
  bool linear_head = false;
};

// The model is made without memory, for one look at what it offers.
Traits look_at_model(const PlanRequest& request, const Question& question) {
  Traits traits;
  const std::vector<std::string> plain{"memory.checkpointing=\"off\"", "memory.chunked_loss=false",
                                       "memory.offload=\"off\"", "train.accumulate=1", "data.batch_size=1"};
  rehearse_training(request.config(plain), *request.models,
                    {.rehearsal = {.gpu = request.gpu, .steps = 1},
                     .form = question.samples.form,
                     .validate = false,
                     .inspect = [&](const train::Session& session) {
                       auto& module = *session.model.module;
                       if (const auto* blocks = nn::find_blocks(module)) traits.blocks = blocks->block_count();
                       traits.linear_head = nn::find_linear_head(module) != nullptr && session.form.classes > 0;
                     }});
  return traits;
}

plan::Settings written_settings(const core::Config& config) {
  const auto memory = config.table("memory");
  plan::Settings settings;
  settings.micro_batch = batch_size_of(config);
  const auto train = config.table("train");
  settings.accumulate = train.integer("accumulate", 1);
  if (settings.accumulate < 1) train.reject("accumulate", fmt::format("must be >= 1, got {}", settings.accumulate));
  settings.precision = config.table("precision").text("compute", "fp32");
  settings.checkpointing = memory.text("checkpointing", "off");
  settings.chunked_loss = memory.boolean("chunked_loss", false);
  settings.optimizer_in_backward = memory.boolean("optimizer_in_backward", false);
  settings.optimizer_states = config.table("optimizer").text("states", "same");
  settings.offload = memory.text("offload", "off");
  return settings;
}

// Why an optimizer cannot step in backward with what the user fixed; empty if it can.
std::string against_in_backward(const core::Config& config) {
  if (config.table("train").number("clip_norm", 0) > 0) return "train.clip_norm, which needs all gradients at once";
  if (config.table("train").number("clip_value", 0) > 0)
    return "train.clip_value: gradients are gone before they could be clipped";
  if (config.table("precision").text("compute", "fp32") == "fp16")
    return "precision.compute = \"fp16\", whose scaler looks at all gradients before a step";
  if (config.table("optimizer").text("kind", "adamw") == "lbfgs") return "optimizer.kind = \"lbfgs\"";
  return "";
}

void check_contradictions(const core::Config& config, const plan::Settings& written) {
  const auto memory = config.table("memory");
  if (!written.optimizer_in_backward) return;
  if (config.table("train").has("accumulate") && written.accumulate > 1)
    memory.reject(
        "optimizer_in_backward",
        fmt::format("contradicts train.accumulate = {}: a gradient is complete only after the last micro-batch",
                    written.accumulate));
  if (const auto reason = against_in_backward(config); !reason.empty())
    memory.reject("optimizer_in_backward", "contradicts " + reason);
}

bool has_8bit_states(const core::Config& config) {
  const auto kind = config.table("optimizer").text("kind", "adamw");
  return kind == "adamw" || kind == "lion";
}

// bf16 parameters compute in bf16 as they are; autocast would only add copies.
std::vector<std::string> precisions_of(const core::Config& precision, const gpu::Gpu& gpu) {
  if (precision.has("compute") || precision.text("parameters", "fp32") == "bf16")
    return {precision.text("compute", "fp32")};
  if (gpu.peak.bf16 > 0) return {"bf16", "fp32"};
  if (gpu.peak.fp16 > 0) return {"fp16", "fp32"};
  return {"fp32"};
}

// At most a dozen micro-batches, near to evenly spaced in their logarithm.
std::vector<std::int64_t> micro_batches_of(std::int64_t effective) {
  auto all = plan::divisors(effective);
  constexpr std::size_t most = 12;
  while (all.size() > most) {
    std::size_t closest = 1;
    double least = 1e300;
    for (std::size_t i = 1; i + 1 < all.size(); ++i)
      if (const double ratio = static_cast<double>(all[i - 1]) / static_cast<double>(all[i + 1]); ratio < least) {
        least = ratio;
        closest = i;
      }
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(closest));
  }
  return all;
}

plan::Space space_of(const core::Config& config, const plan::Settings& written, const Traits& traits,
                     const gpu::Gpu& gpu) {
  const auto memory = config.table("memory");
  plan::Space space;
  space.effective_batch = written.micro_batch * written.accumulate;
  space.micro_batches = config.table("train").has("accumulate") ? std::vector{written.micro_batch}
                                                                : micro_batches_of(space.effective_batch);
  space.precisions = precisions_of(config.table("precision"), gpu);
  const bool by_budget = written.checkpointing == "budget";
  space.checkpointing = memory.has("checkpointing") && !by_budget ? std::vector{written.checkpointing}
                                                                  : plan::checkpointing_of(traits.blocks);
  if (memory.has("chunked_loss"))
    space.chunked_loss = {written.chunked_loss};
  else if (traits.linear_head)
    space.chunked_loss = {false, true};
  space.offload = memory.has("offload") ? std::vector{written.offload} : std::vector<std::string>{"off", "activations"};
  if (memory.has("optimizer_in_backward"))
    space.optimizer_in_backward = {written.optimizer_in_backward};
  else if (against_in_backward(config).empty())
    space.optimizer_in_backward = {false, true};
  if (config.table("optimizer").has("states"))
    space.optimizer_states = {written.optimizer_states};
  else if (has_8bit_states(config))
    space.optimizer_states = {"same", "8bit"};
  space.allowed = [](const plan::Settings& s) { return !(s.optimizer_in_backward && s.precision == "fp16"); };
  return space;
}

// What the peak of the process is made of: blocks by what they hold, what the allocator reserved beyond them, how far
// the forecast may be exceeded, and the CUDA context.
std::vector<std::pair<std::string, Bytes>> parts_of(const rehearse::Forecast& forecast) {
  std::vector<std::pair<std::string, Bytes>> parts;
  Bytes left{forecast.peak.reserved.value};
  const auto add = [&](std::string_view name, Bytes bytes) {
    if (bytes.count > 0) parts.emplace_back(name, bytes);
  };
  for (std::size_t i = 0; i < rehearse::category_count; ++i) {
    const Bytes bytes{forecast.by_category[i]};
    add(rehearse::name(static_cast<rehearse::Category>(i)), bytes);
    left = left - bytes;
  }
  add("reserved slack", left);
  add("uncertainty", Bytes{forecast.peak.reserved.high - forecast.peak.reserved.value});
  add("CUDA context", Bytes{forecast.peak.process.high - forecast.peak.reserved.high});
  return parts;
}

}  // namespace

std::optional<Bytes> parse_budget(const std::string& key, const std::string& text) {
  if (text == "auto") return std::nullopt;
  const auto refuse = [&](const std::string& why) { throw std::invalid_argument(fmt::format("{}: {}", key, why)); };
  std::optional<Bytes> budget;
  try {
    budget = Bytes::parse(text);
  } catch (const std::invalid_argument& error) {
    refuse(error.what());
  }
  if (budget->count <= 0) refuse(fmt::format("must be > 0, got {}", text));
  return budget;
}

std::optional<Bytes> budget_of(const core::Config& config) {
  return parse_budget("memory.budget", config.table("memory").text("budget", "auto"));
}

Question ask(const PlanRequest& request) {
  const auto config = request.config({});
  const auto& gpu = gpu::Table::standard().find(request.gpu);
  Question question;
  question.written = written_settings(config);
  question.all_bf16 = config.table("precision").text("parameters", "fp32") == "bf16";
  check_contradictions(config, question.written);
  question.samples = form_of_training(config, *request.models, request.sample);
  const auto traits = look_at_model(request, question);
  const auto& policy = question.written.checkpointing;
  if (policy != "off" && traits.blocks == 0)
    config.table("memory").reject(
        "checkpointing",
        fmt::format("= \"{}\", but the model lists no blocks: derive it from athanor::nn::Blocks, "
                    "return their number from block_count() and call each as run_block(index, block, x)",
                    policy));
  question.space = space_of(config, question.written, traits, gpu);
  if (policy == "budget") question.written.checkpointing = "off";
  return question;
}

plan::Cost rehearse_setting(const PlanRequest& request, const Question& question, const plan::Settings& settings) {
  constexpr std::int64_t enough = 2;  // the third micro-batch is like the second
  auto overrides = settings.changes({.micro_batch = 0,
                                     .accumulate = 0,
                                     .precision = "",
                                     .checkpointing = "",
                                     .chunked_loss = !settings.chunked_loss,
                                     .optimizer_in_backward = !settings.optimizer_in_backward,
                                     .optimizer_states = question.written.optimizer_states,
                                     .offload = ""});
  overrides.push_back(fmt::format("train.accumulate={}", std::min(settings.accumulate, enough)));
  const auto rehearsal = rehearse_training(request.config(overrides), *request.models,
                                           {.rehearsal = {.gpu = request.gpu, .steps = 2},
                                            .form = question.samples.form,
                                            .accumulate = settings.accumulate,
                                            .estimate_time = true});
  const auto& peak = rehearsal.forecast.peak;
  return {Bytes{peak.reserved.high}, Bytes{peak.process.high}, rehearsal.step.seconds, parts_of(rehearsal.forecast)};
}

plan::Plan make_plan(const PlanRequest& request, const Question& question) {
  const auto usable = gpu::Table::standard().find(request.gpu).usable;
  return plan::search(
      question.space, [&](const plan::Settings& settings) { return rehearse_setting(request, question, settings); },
      {.process = request.budget.value_or(usable), .preferred = question.written, .progress = request.progress});
}

plan::TextOptions words_for(const PlanRequest& request, const Question& question) {
  return {.gpu = request.gpu, .written = question.written, .all_bf16 = question.all_bf16};
}

}  // namespace athanor::cli
