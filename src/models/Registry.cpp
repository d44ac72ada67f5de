#include "athanor/models/Registry.h"

#include "models/Builtin.h"

namespace athanor::models {

Registry Registry::builtin() {
  Registry registry;
  registry.add("mlp", mlp_from);
  registry.add("cnn", cnn_from);
  registry.add("resnet", resnet_from);
  registry.add("vit", vit_from);
  registry.add("gpt", gpt_from);
  registry.add("llama", llama_from);
  registry.add("torchscript", torchscript_from);
  return registry;
}

void Registry::add(std::string name, Factory factory) {
  factories_.insert_or_assign(std::move(name), std::move(factory));
}

Model Registry::make(const core::Config& table) const {
  const auto kind = table.choice("kind", "mlp", names());
  return factories_.at(kind)(table);
}

std::vector<std::string> Registry::names() const {
  std::vector<std::string> names;
  for (const auto& [name, factory] : factories_) names.push_back(name);
  return names;
}

}  // namespace athanor::models
