#include "athanor/optim/Factory.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <utility>

#include "athanor/optim/Adafactor.h"
#include "athanor/optim/Adam.h"
#include "athanor/optim/AdamVariants.h"
#include "athanor/optim/Adaptive.h"
#include "athanor/optim/Groups.h"
#include "athanor/optim/LBFGS.h"
#include "athanor/optim/LayerWise.h"
#include "athanor/optim/Muon.h"
#include "athanor/optim/SGD.h"
#include "athanor/optim/ScheduleFree.h"
#include "athanor/optim/SignDescent.h"
#include "athanor/optim/SparseAdam.h"

namespace athanor::optim {
namespace {

/// Settings from a TOML table: each key has the struct's own value as its default.
class FromConfig : public Fields {
 public:
  explicit FromConfig(const core::Config& table) : table_(table) {}
  void field(const char* name, double& value) override { value = table_.number(name, value); }
  void field(const char* name, bool& value) override { value = table_.boolean(name, value); }
  void field(const char* name, std::int64_t& value) override { value = table_.integer(name, value); }
  void field(const char* name, std::string& value) override { value = table_.text(name, value); }
  void field(const char* name, double* values, std::size_t size) override {
    const auto given = table_.numbers(name, std::vector<double>(values, values + size));
    if (given.size() != size) table_.reject(name, fmt::format("must be {} numbers, got {}", size, given.size()));
    for (std::size_t i = 0; i < size; ++i) values[i] = given[i];
  }

 private:
  const core::Config& table_;
};

using Made = std::unique_ptr<torch::optim::Optimizer>;
using Groups = std::vector<ParameterGroup>;

// Muon is for the matrices of hidden layers; the rest of a model is AdamW's (Jordan et al., 2024).
bool for_muon(const std::string& name, const at::Tensor& param) {
  if (param.dim() != 2) return false;
  for (const char* part : {"embed", "wte", "wpe", "token", "position", "head", "classifier", "output"})
    if (name.find(part) != std::string::npos) return false;
  return true;
}

std::vector<torch::optim::OptimizerParamGroup> grouped(Groups groups, const MuonOptions& options) {
  std::vector<torch::optim::OptimizerParamGroup> result;
  for (const bool adamw : {false, true}) {
    Groups part;
    for (const auto& group : groups) {
      part.push_back({{}, {}, group.decay, group.lr_scale});
      for (std::size_t i = 0; i < group.parameters.size(); ++i)
        if (for_muon(group.names[i], group.parameters[i]) != adamw)
          part.back().parameters.push_back(group.parameters[i]);
      if (part.back().parameters.empty()) part.pop_back();
    }
    MuonOptions own = options;
    own.adamw = adamw;
    for (auto& each : with_options(std::move(part), own)) result.push_back(std::move(each));
  }
  return result;
}

template <class Options>
std::vector<torch::optim::OptimizerParamGroup> grouped(Groups groups, const Options& options) {
  return with_options(std::move(groups), options);
}

/// One kind of optimizer: its name in TOML, and how it is made.
struct Kind {
  std::string name;
  std::function<Made(const core::Config&, torch::nn::Module&)> make;
};

// `preset` is what the kind changes of the settings' defaults.
template <class Options>
Kind kind(std::string name, void (*preset)(Options&) = nullptr) {
  return {std::move(name), [preset](const core::Config& table, torch::nn::Module& model) -> Made {
            Options options;
            if (preset != nullptr) preset(options);
            FromConfig from(table);
            options.visit(from);
            const GroupingOptions grouping{.decay_norms_and_biases = table.boolean("decay_norms_and_biases", true),
                                           .layer_decay = table.number("layer_decay", 1.0)};
            return std::make_unique<OptimizerOf<Options>>(grouped(parameter_groups(model, grouping), options), options);
          }};
}

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      kind<AdamOptions>("adam"),
      kind<AdamWOptions>("adamw"),
      kind<AdamWOptions>("adamw8bit", [](AdamWOptions& o) { o.storage.states = "8bit"; }),
      kind<SGDOptions>("sgd"),
      kind<RMSpropOptions>("rmsprop"),
      kind<AdagradOptions>("adagrad"),
      kind<AdadeltaOptions>("adadelta"),
      kind<AdamaxOptions>("adamax"),
      kind<NAdamOptions>("nadam"),
      kind<RAdamOptions>("radam"),
      kind<ASGDOptions>("asgd"),
      kind<RpropOptions>("rprop"),
      kind<LionOptions>("lion"),
      kind<LionOptions>("lion8bit", [](LionOptions& o) { o.storage.states = "8bit"; }),
      kind<AdEMAMixOptions>("ademamix"),
      kind<LAMBOptions>("lamb"),
      kind<LARSOptions>("lars"),
      kind<AdamMiniOptions>("adam_mini"),
      kind<AdafactorOptions>("adafactor"),
      kind<MuonOptions>("muon"),
      kind<SparseAdamOptions>("sparse_adam"),
      kind<LBFGSOptions>("lbfgs"),
      kind<ScheduleFreeAdamWOptions>("schedule_free_adamw"),
      kind<ScheduleFreeSGDOptions>("schedule_free_sgd"),
  };
  return all;
}

// Of names: what a message begins with that does not say yet where its setting stands.
const std::string letters = "abcdefghijklmnopqrstuvwxyz_0123456789";

}  // namespace

const std::vector<std::string>& optimizer_kinds() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result;
    for (const auto& each : kinds()) result.push_back(each.name);
    return result;
  }();
  return names;
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const core::Config& table, torch::nn::Module& model) {
  const std::string name = table.choice("kind", "adamw", optimizer_kinds());
  const auto found = std::find_if(kinds().begin(), kinds().end(), [&](const Kind& each) { return each.name == name; });
  try {
    return found->make(table, model);
  } catch (const std::invalid_argument& error) {
    const std::string message = error.what();
    const auto colon = message.find(": ");
    const bool located = message.substr(0, colon).find_first_not_of(letters + ":") != std::string::npos;
    if (located || colon == std::string::npos) throw;
    // "adamw: betas[1] must be …" is about betas.
    const std::string key = message.substr(colon + 2, message.find_first_not_of(letters, colon + 2) - colon - 2);
    std::string where = table.where(table.has(key) ? key : "kind");
    if (!where.ends_with(':')) where += ':';
    throw std::invalid_argument(where + " " + message);
  }
}

}  // namespace athanor::optim
