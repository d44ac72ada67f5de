#include "athanor/optim/Factory.h"

#include <fmt/format.h>

#include <functional>
#include <stdexcept>
#include <utility>

#include "athanor/optim/Adam.h"
#include "athanor/optim/SGD.h"

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

using Params = std::vector<at::Tensor>;
using Made = std::unique_ptr<torch::optim::Optimizer>;

/// One kind of optimizer: its name in TOML, and how it is made.
struct Kind {
  std::string name;
  std::function<Made(const core::Config&, Params)> make;
};

// `preset` is what the kind changes of the settings' defaults.
template <class Options>
Kind kind(std::string name, void (*preset)(Options&) = nullptr) {
  return {std::move(name), [preset](const core::Config& table, Params params) -> Made {
            Options options;
            if (preset != nullptr) preset(options);
            FromConfig from(table);
            options.visit(from);
            return std::make_unique<OptimizerOf<Options>>(std::move(params), options);
          }};
}

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      kind<AdamOptions>("adam"),
      kind<AdamWOptions>("adamw"),
      kind<AdamWOptions>("adamw8bit", [](AdamWOptions& o) { o.storage.states = "8bit"; }),
      kind<SGDOptions>("sgd"),
  };
  return all;
}

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
  Params params;
  for (auto& param : model.parameters())
    if (param.requires_grad()) params.push_back(param);
  for (const auto& each : kinds()) {
    if (each.name != name) continue;
    try {
      return each.make(table, std::move(params));
    } catch (const std::invalid_argument& error) {
      const std::string message = error.what();
      if (message.starts_with(table.where("kind").substr(0, table.where("kind").find(':')) + ":")) throw;
      throw std::invalid_argument(table.where("kind") + ": " + message);
    }
  }
  table.reject("kind", fmt::format("'{}' is not an optimizer", name));
}

}  // namespace athanor::optim
