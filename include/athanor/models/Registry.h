#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "athanor/core/Config.h"
#include "athanor/models/Model.h"

namespace athanor::models {

/// Makes a model from its table of a configuration. Draws the first weights from LibTorch's default generator, so
/// torch::manual_seed before it makes them repeatable.
using Factory = std::function<Model(const core::Config& table)>;

/// The models a configuration can name. Not thread-safe while models are added.
class Registry {
 public:
  /// With mlp, cnn, resnet, vit, gpt, llama and torchscript.
  static Registry builtin();

  /// A name that is there already is replaced: a user's own model wins.
  void add(std::string name, Factory factory);

  /// Makes the model that `kind` of the table names; throws std::invalid_argument that names the nearest kind there is.
  [[nodiscard]] Model make(const core::Config& table) const;

  [[nodiscard]] std::vector<std::string> names() const;

 private:
  std::map<std::string, Factory> factories_;
};

}  // namespace athanor::models
