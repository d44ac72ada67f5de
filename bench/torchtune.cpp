// Forecasts of torchtune's recipe full_finetune_single_device for Llama 3.2 3B, 2 x 4096 tokens in bf16 on an A100,
// with each of its techniques on top of those before: prints one JSON object a row. torchtune's own chunked loss is
// written out here; the last rows have nn::linear_cross_entropy in its place.
#include <fmt/format.h>
#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include "athanor/models/Llama.h"
#include "athanor/nn/Offload.h"
#include "athanor/optim/Adam.h"
#include "athanor/optim/StepInBackward.h"
#include "athanor/plan/Roofline.h"
#include "athanor/rehearse/Rehearse.h"

namespace {

using namespace athanor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto gpu = "A100 80GB";
constexpr std::int64_t sequences = 2, length = 4096;
const models::LlamaOptions llama_3b{.layers = 28,
                                    .heads = 24,
                                    .kv_heads = 8,
                                    .width = 3072,
                                    .mlp = 8192,
                                    .block = length,
                                    .vocabulary = 128256,
                                    .rope_base = 500000.0,
                                    .rope_factor = 32,
                                    .tied = true};

/// Cross-entropy summed over rows as torch.compile makes it of `cross_entropy(logits.float(), …)`: what is kept for
/// backward is the bf16 logits and two numbers a row, and the gradient comes out in bf16.
class CompiledCrossEntropy : public torch::autograd::Function<CompiledCrossEntropy> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logits, const at::Tensor& targets) {
    const auto log_sum = at::logsumexp(logits, 1);
    context->save_for_backward({logits, targets, log_sum});
    const auto right = logits.gather(1, targets.unsqueeze(1)).squeeze(1);
    return (log_sum.to(at::kFloat) - right.to(at::kFloat)).sum();
  }
  static variable_list backward(AutogradContext* context, variable_list incoming) {
    const auto saved = context->get_saved_variables();
    auto gradient = saved[0] - saved[2].unsqueeze(1);
    gradient.exp_();
    const auto index = saved[1].unsqueeze(1);
    gradient.scatter_add_(1, index, at::full({1, 1}, -1.0, gradient.options()).expand_as(index));
    return {gradient.mul_(incoming[0].to(gradient.scalar_type())), {}};
  }
};

enum class Loss { whole, chunks_of_logits, chunked };

at::Tensor loss_of(models::LlamaImpl& net, const at::Tensor& tokens, const at::Tensor& targets, Loss loss) {
  if (loss == Loss::chunked) return nn::linear_cross_entropy(net.features(tokens), net.head(), targets);
  if (loss == Loss::whole)
    return at::cross_entropy_loss(net.forward(tokens).to(at::kFloat).flatten(0, 1), targets.flatten());
  // All logits are made first, in eight pieces; then each piece's loss.
  constexpr std::int64_t pieces = 8;
  std::vector<at::Tensor> logits;
  for (const auto& hidden : net.features(tokens).tensor_split(pieces, 1))
    logits.push_back(at::linear(hidden, net.head().weight).flatten(0, 1));
  const auto pieces_of_targets = targets.tensor_split(pieces, 1);
  at::Tensor sum;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const auto piece = CompiledCrossEntropy::apply(logits[i], pieces_of_targets[i].reshape({-1}));
    sum = sum.defined() ? sum + piece : piece;
  }
  return sum / targets.numel();
}

struct Recipe {
  Loss loss = Loss::whole;
  bool checkpointing = false;
  bool in_backward = false;
  bool offload = false;
  std::string states = "same";
};

nlohmann::json forecast(const Recipe& recipe) {
  plan::Estimate time;
  const auto found = rehearse::rehearse({.gpu = gpu, .steps = 2}, [&](torch::Device device, rehearse::Stage& stage) {
    models::Llama net{nullptr};
    {
      const auto guard = stage.without_host_memory();
      net = models::Llama(llama_3b);
    }
    net->to(device, at::kBFloat16);
    stage.watch(*net);
    if (recipe.checkpointing) net->set_checkpointing(nn::Checkpointing::all());
    optim::AdamW optimizer(net->parameters(), {.lr = 2e-5, .storage = {.states = recipe.states}});
    std::optional<optim::InBackward> in_backward;
    if (recipe.in_backward) in_backward = optim::step_in_backward(optimizer, *net);
    const auto tokens = torch::zeros({sequences, length}, torch::dtype(torch::kLong).device(device));
    while (stage.next_step()) {
      plan::WorkCounter counter;
      at::Tensor loss;
      {
        std::optional<nn::OffloadScope> offload;
        if (recipe.offload) offload.emplace();
        loss = loss_of(*net, tokens, tokens, recipe.loss);
      }
      loss.backward();
      if (!in_backward) optimizer.step(), optimizer.zero_grad();
      time = plan::roofline(counter.take(), gpu::Table::standard().find(gpu));
    }
  });
  nlohmann::json row{
      {"bytes", found.peak.allocated.value}, {"seconds", time.seconds}, {"operator", found.peak_operator}};
  for (std::size_t i = 0; i < rehearse::category_count; ++i)
    row["parts"][rehearse::name(static_cast<rehearse::Category>(i))] = found.by_category[i];
  return row;
}

}  // namespace

int main() {
  for (const auto loss : {Loss::chunks_of_logits, Loss::chunked}) {
    Recipe recipe;
    const auto print = [&](const char* name) {
      auto row = forecast(recipe);
      row["technique"] = name;
      row["loss"] = recipe.loss == Loss::chunked ? "ours" : "torchtune's";
      fmt::print("{}\n", row.dump());
      std::fflush(stdout);
    };
    if (loss == Loss::chunks_of_logits) print("packed");
    recipe.loss = loss, print("chunked loss");
    recipe.checkpointing = true, print("checkpointing");
    recipe.in_backward = true, print("optimizer in backward");
    recipe.offload = true, print("activation offload");
    recipe.states = "8bit", print("8-bit states");
  }
}
