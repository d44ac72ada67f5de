// Runs optimizers on the cases that tests/oracle/test_optimizers.py writes: oracle_optimizers DIR reads DIR/*.json with
// its DIR/*.in.safetensors and writes DIR/*.out.safetensors and DIR/*.out.json.
//   "free": one run over all steps from step 0; parameters after each.
//   "each": every step on its own, from the parameters and the state that PyTorch had before it.
#include <torch/torch.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "athanor/core/Config.h"
#include "athanor/optim/Factory.h"
#include "athanor/optim/Optimizer.h"
#include "athanor/optim/State.h"
#include "athanor/store/Safetensors.h"

namespace {

using athanor::store::NamedTensors;
using nlohmann::json;

// The layouts a parameter may have; the values are the same.
at::Tensor laid_out(const at::Tensor& values, const std::string& layout) {
  if (layout == "channels_last") return values.contiguous(at::MemoryFormat::ChannelsLast);
  if (layout == "transposed") return values.t().contiguous().t();
  if (layout == "gaps") return at::stack({values, values}, -1).select(-1, 0);
  return values.clone();
}

struct Params : torch::nn::Module {
  void add(const std::string& name, const at::Tensor& tensor) { register_parameter(name, tensor); }
};

struct Case {
  json description;
  athanor::store::Loaded in;
  std::vector<at::Tensor> params;

  at::Tensor find(const std::string& name) const { return in.contains(name) ? in.at(name) : at::Tensor(); }
  std::string layout(std::size_t i) const { return description["layouts"][i].get<std::string>(); }

  void make_params(const std::string& prefix) {
    params.clear();
    for (std::size_t i = 0; i < description["layouts"].size(); ++i)
      params.push_back(laid_out(in.at(prefix + std::to_string(i)), layout(i)).requires_grad_());
  }

  void set_grads(int step) const {
    for (std::size_t i = 0; i < params.size(); ++i) {
      const std::string name = "grad." + std::to_string(step) + "." + std::to_string(i);
      at::Tensor grad = find(name);
      if (const at::Tensor indices = find(name + ".indices"); indices.defined()) {
        grad = at::sparse_coo_tensor(indices, find(name + ".values"), params[i].sizes());
      } else if (grad.defined()) {
        grad = laid_out(grad, description.value("grad_layouts", description["layouts"])[i].get<std::string>());
      }
      params[i].mutable_grad() = grad;
    }
  }

  std::unique_ptr<torch::optim::Optimizer> make() const {
    const json& groups = description["groups"];
    const auto table = athanor::core::Config::from_text(
        "kind = \"" + description["kind"].get<std::string>() + "\"\n" + description.value("toml", std::string()),
        "case");
    std::unique_ptr<torch::optim::Optimizer> optimizer;
    for (const auto& group : groups) {
      Params module;
      std::vector<at::Tensor> tensors;
      for (const std::size_t i : group["params"]) {
        module.add("p" + std::to_string(i), params[i]);
        tensors.push_back(params[i]);
      }
      if (!optimizer) {
        optimizer = athanor::optim::make_optimizer(table, module);
      } else {
        optimizer->add_param_group(torch::optim::OptimizerParamGroup(tensors));
      }
    }
    return optimizer;
  }

  // The settings of the groups, and where `prefix` is given the state under it.
  void set_state(torch::optim::Optimizer& optimizer, const std::string& prefix) const {
    athanor::optim::State state;
    state.scalars = {{"param_groups", description["groups"]}};
    if (!prefix.empty())
      for (const auto& [name, tensor] : in.tensors)
        if (name.starts_with(prefix)) state.tensors.emplace_back(name.substr(prefix.size()), tensor);
    athanor::optim::restore(optimizer, state);
  }
};

void keep(NamedTensors& out, const std::string& name, const at::Tensor& tensor) {
  out.emplace_back(name, tensor.detach().clone(at::MemoryFormat::Contiguous));
}

void keep_params(NamedTensors& out, const Case& each, int step) {
  for (std::size_t i = 0; i < each.params.size(); ++i)
    keep(out, "after." + std::to_string(step) + "." + std::to_string(i), each.params[i]);
}

// Rosenbrock's function of all parameters end to end: steps of LBFGS with a closure.
void run_rosenbrock(Case& each, NamedTensors& out, json& scalars) {
  each.make_params("before.0.param.");
  const auto optimizer = each.make();
  each.set_state(*optimizer, "");
  for (int step = 0; step < each.description["steps"]; ++step) {
    const at::Tensor loss = optimizer->step([&] {
      optimizer->zero_grad();
      std::vector<at::Tensor> flat;
      for (const auto& param : each.params) flat.push_back(param.reshape({-1}));
      const at::Tensor x = at::cat(flat);
      const at::Tensor head = x.narrow(0, 0, x.numel() - 1);
      const at::Tensor tail = x.narrow(0, 1, x.numel() - 1);
      at::Tensor value = (100 * (tail - head.square()).square() + (1 - head).square()).sum();
      value.backward();
      return value;
    });
    scalars["losses"].push_back(loss.item<double>());
    keep_params(out, each, step);
  }
}

void run(Case& each, NamedTensors& out, json& scalars) {
  const int steps = each.description["steps"];
  const bool free = each.description["mode"] == "free";
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  for (int step = each.description.value("first", 0); step < steps; ++step) {
    if (free && optimizer) {
      each.set_grads(step);
      optimizer->step();
      keep_params(out, each, step);
      continue;
    }
    const std::string before = "before." + std::to_string(step) + ".";
    each.make_params(before + "param.");
    optimizer = each.make();
    each.set_state(*optimizer, before);
    each.set_grads(step);
    optimizer->step();
    keep_params(out, each, step);
  }
  if (auto* ours = dynamic_cast<athanor::optim::Optimizer*>(optimizer.get())) {
    if (each.description.value("eval", false)) {
      ours->eval();
      keep_params(out, each, steps);
      ours->train();
    }
    scalars["state_bytes"] = ours->state_bytes();
  }
  const auto state = athanor::optim::state_of(*optimizer);
  for (const auto& [name, tensor] : state.tensors) keep(out, name, tensor);
  scalars["state"] = state.scalars;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) throw std::invalid_argument("usage: oracle_optimizers DIR");
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    const std::string path = entry.path().string();
    if (!path.ends_with(".json") || path.ends_with(".out.json")) continue;
    const std::string stem = path.substr(0, path.size() - 5);
    Case each;
    std::ifstream(path) >> each.description;
    each.in = athanor::store::load_safetensors(stem + ".in.safetensors");
    NamedTensors out;
    json scalars;
    try {
      if (each.description["mode"] == "rosenbrock") {
        run_rosenbrock(each, out, scalars);
      } else {
        run(each, out, scalars);
      }
    } catch (const std::exception& error) {
      scalars["error"] = error.what();
    }
    athanor::store::save_safetensors(stem + ".out.safetensors", out, {}, {.sync = false});
    std::ofstream(stem + ".out.json") << scalars.dump();
  }
} catch (const std::exception& error) {
  std::cerr << "oracle_optimizers: " << error.what() << '\n';
  return 1;
}
