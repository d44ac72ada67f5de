#include "cli/Budget.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "athanor/plan/Text.h"
#include "cli/Apart.h"
#include "cli/Planning.h"

namespace athanor::cli {
namespace {

struct Verdict {
  bool fits = false;
  std::string checkpointing;  // where the budget chose it
  std::string message;
};

std::string refusal(const PlanRequest& request, const Question& question, const plan::Cost& cost, Bytes budget) {
  std::string text = fmt::format("memory.budget: a step needs {}, {} more than the budget of {}\n", cost.process.text(),
                                 (cost.process - budget).text(), budget.text());
  const auto plan = make_plan(request, question);
  return text + plan::text(plan, words_for(request, question), {});
}

Verdict rehearse(const PlanRequest& request, bool choose) {
  auto question = ask(request);
  const auto budget = request.budget.value_or(gpu::Table::standard().find(request.gpu).usable);
  if (!choose) {
    const auto cost = rehearse_setting(request, question, question.written);
    if (cost.process <= budget)
      return {true, "", fmt::format("memory: {} of {} expected", cost.process.text(), budget.text())};
    return {false, "", refusal(request, question, cost, budget)};
  }
  // The fewest checkpointed blocks that fit, everything else as written.
  auto& space = question.space;
  space = {.micro_batches = {question.written.micro_batch},
           .effective_batch = question.written.micro_batch * question.written.accumulate,
           .checkpointing = space.checkpointing,
           .offload = {question.written.offload},
           .optimizer_in_backward = {question.written.optimizer_in_backward},
           .precisions = {question.written.precision},
           .chunked_loss = {question.written.chunked_loss},
           .optimizer_states = {question.written.optimizer_states}};
  const auto plan = make_plan(request, question);
  if (plan.chosen)
    return {true, plan.chosen->settings.checkpointing,
            fmt::format("memory: checkpointing {} keeps to {} of {}", plan.chosen->settings.checkpointing,
                        plan.chosen->cost.process.text(), budget.text())};
  return {false, "", plan::explain_miss(plan, words_for(request, question))};
}

// Where training may use a real CUDA device the rehearsal has a process of its own.
Verdict rehearse_apart(const PlanRequest& request, bool choose) {
  const auto answer =
      Apart("memory.budget", [&] {
        const auto verdict = rehearse(request, choose);
        return nlohmann::json{
            {"fits", verdict.fits}, {"checkpointing", verdict.checkpointing}, {"message", verdict.message}};
      }).wait();
  return {answer["fits"], answer["checkpointing"], answer["message"]};
}

}  // namespace

bool fit_to_budget(const std::string& path, std::vector<std::string>& overrides, Context& context) {
  const auto config = core::Config::from_file(path, overrides);
  const auto memory = config.table("memory");
  const auto budget = budget_of(config);
  const bool choose = memory.text("checkpointing", "off") == "budget";
  if (!budget && !choose) return true;
  PlanRequest request;
  request.config = [&](std::span<const std::string> more) {
    auto all = overrides;
    all.insert(all.end(), more.begin(), more.end());
    return core::Config::from_file(path, all);
  };
  request.models = &context.models;
  request.gpu = memory.text("gpu", "A100 80GB");
  request.budget = budget;
  const bool may_use_cuda = config.table("run").text("device", "auto") != "cpu";
  const auto verdict = may_use_cuda ? rehearse_apart(request, choose) : rehearse(request, choose);
  if (!verdict.fits)
    *context.err << context.name << ": " << verdict.message << '\n';
  else if (!context.quiet)
    *context.err << verdict.message << '\n';
  if (verdict.fits && choose) overrides.push_back(fmt::format("memory.checkpointing=\"{}\"", verdict.checkpointing));
  if (!verdict.fits) context.exit_code = 3;
  return verdict.fits;
}

}  // namespace athanor::cli
