// Lends models and weight files to Python:
//   oracle_models save CONFIG WEIGHTS                       a freshly drawn model's weights
//   oracle_models run CONFIG WEIGHTS INPUTS OUTPUTS         its outputs (evaluation), and gradients of their squares
//                                                           (training), from "inputs" of a safetensors file
//   oracle_models copy FROM TO                              a safetensors file, read and written again
#include <torch/torch.h>

#include <iostream>

#include "athanor/core/Config.h"
#include "athanor/models/Registry.h"
#include "athanor/store/Safetensors.h"
#include "athanor/train/Weights.h"

namespace {

using namespace athanor;

void run(models::Model& model, const std::string& inputs_path, const std::string& outputs_path) {
  const auto inputs = store::load_safetensors(inputs_path).at("inputs");
  store::NamedTensors results;
  {
    const torch::NoGradGuard no_grad;
    model.module->eval();
    results.emplace_back("outputs", model.forward(inputs));
  }
  model.module->train();
  model.forward(inputs).square().sum().backward();
  for (const auto& parameter : model.module->named_parameters())
    results.emplace_back("grad." + parameter.key(), parameter.value().grad());
  store::save_safetensors(outputs_path, results);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.at(0) == "copy") {
    const auto file = store::load_safetensors(words.at(1));
    store::save_safetensors(words.at(2), file.tensors, file.metadata);
    return 0;
  }
  torch::manual_seed(1);
  auto model = models::Registry::builtin().make(core::Config::from_file(words.at(1)));
  if (words.at(0) == "save") {
    store::save_safetensors(words.at(2), train::weights_of(*model.module));
    return 0;
  }
  train::copy_weights(store::load_safetensors(words.at(2)).tensors, *model.module, words.at(2));
  run(model, words.at(3), words.at(4));
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
